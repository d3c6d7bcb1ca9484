//! Both processes started for real: harness and end-to-end tests.
