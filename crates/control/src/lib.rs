//! The management service.
