//! What crosses between control and proxy.
