//! Two halves of the link over real mutual TLS.
