//! Whose token is it: verifying and signing, the same on both planes. Pure: no IO, no clock.
