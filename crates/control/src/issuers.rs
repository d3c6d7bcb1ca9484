//! A tenant's identity providers: finding them, and keeping their keys fresh.

mod wanted;

pub(crate) use self::wanted::Wanted;
