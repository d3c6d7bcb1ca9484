//! MCP messages as a gateway must see them.
