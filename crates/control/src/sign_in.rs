//! How people sign in at control: by a password that Gatehouse keeps, by a one-time link, or at their tenant's
//! issuer. What comes of each is a session: a row, and a cookie that only the browser has.
//!
//! Begin with `session` (who is signed in), then `password`, `issuer` (OpenID Connect) and `account` (whom an
//! issuer's claims mean). The pages are in [`crate::pages`]; they hold no rule of their own.

pub(crate) mod account;
pub(crate) mod cookies;
pub(crate) mod failures;
pub(crate) mod issuer;
pub(crate) mod link;
pub(crate) mod password;
pub(crate) mod return_to;
pub(crate) mod session;
pub(crate) mod site;
pub(crate) mod token;
pub(crate) mod tries;

use std::sync::Arc;

use self::failures::Failures;
use self::password::Passwords;
use self::tries::Tries;

/// What all sign-ins of this process share.
#[derive(Clone)]
pub(crate) struct SignIn {
    pub(crate) passwords: Arc<Passwords>,
    pub(crate) tries: Arc<Tries>,
    pub(crate) failures: Arc<Failures>,
}

impl SignIn {
    /// Nobody has tried anything yet.
    pub(crate) fn new() -> Self {
        Self { passwords: Arc::default(), tries: Arc::default(), failures: Arc::default() }
    }
}
