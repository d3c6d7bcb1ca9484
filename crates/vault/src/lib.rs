//! Sealing and opening secrets.
