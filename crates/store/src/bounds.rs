//! How many of each there may be: what bounds every read and every table that proxies hold.
//!
//! Small in unit tests, so that they can be reached there.

use sea_orm::{ConnectionTrait, EntityTrait, PaginatorTrait, Select};

use crate::StoreError;

/// Live keys of one tenant.
pub(crate) const KEYS: u32 = if cfg!(test) { 3 } else { 10_000 };
/// Live users of one tenant.
pub(crate) const USERS: u32 = if cfg!(test) { 3 } else { 10_000 };
/// Live departments of one tenant.
pub(crate) const DEPARTMENTS: u32 = if cfg!(test) { 3 } else { 1_000 };
/// Departments of one user.
pub(crate) const MEMBERSHIPS: u32 = if cfg!(test) { 2 } else { 32 };
/// Disabled tools of one server.
pub(crate) const DISABLED_TOOLS: u32 = if cfg!(test) { 2 } else { 2_000 };
/// Egress rules of the platform.
pub(crate) const EGRESS_RULES: u32 = if cfg!(test) { 3 } else { 1_000 };
/// Bytes of one server's manifest.
pub(crate) const MANIFEST_BYTES: u32 = 8 << 20;

/// Refuses one more if there are `limit` already.
pub(crate) async fn room_for_one<E: EntityTrait>(
    db: &impl ConnectionTrait,
    those: Select<E>,
    what: &'static str,
    limit: u32,
) -> Result<(), StoreError>
where
    E::Model: Send + Sync,
{
    if those.count(db).await? < u64::from(limit) { Ok(()) } else { Err(StoreError::Bound { what, limit }) }
}
