//! From when to when a token is good.

use crate::TokenError;
use crate::json::{Json, Members};

/// How far the clock of whoever signed may be off, in seconds.
pub const LEEWAY: i64 = 60;
/// The last second of the year 9999: more is no time, and would not fit once it is counted in microseconds.
const LAST: i64 = 253_402_300_799;

/// The times that a token names, in seconds since 1970.
pub(crate) struct Times {
    pub(crate) issued_at: Option<i64>,
    pub(crate) expires_at: i64,
}

impl Times {
    /// Reads them and compares them with now. Only whole numbers are times.
    pub(crate) fn judged(payload: &Members, now: i64) -> Result<Self, TokenError> {
        let expires_at = time(payload, "exp")?.ok_or(TokenError::Claim("exp"))?;
        let not_before = time(payload, "nbf")?;
        let issued_at = time(payload, "iat")?;
        if now.saturating_sub(LEEWAY) >= expires_at {
            return Err(TokenError::Expired);
        }
        if not_before.max(issued_at).is_some_and(|from| from > now.saturating_add(LEEWAY)) {
            return Err(TokenError::NotYet);
        }
        Ok(Self { issued_at, expires_at })
    }
}

fn time(payload: &Members, name: &'static str) -> Result<Option<i64>, TokenError> {
    match payload.get(name) {
        None => Ok(None),
        Some(Json::Whole(time)) if (0..=LAST).contains(time) => Ok(Some(*time)),
        Some(_) => Err(TokenError::Claim(name)),
    }
}
