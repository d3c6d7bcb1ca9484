//! The link against a control that is played by the test.
