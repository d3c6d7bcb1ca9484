//! The wrapped data keys as they lie in the database: of each tenant all in one row.

use std::sync::Arc;

use model::{Clock, TenantId};
use store::{Store, StoreError};
use vault::Wrapped;

/// A data key's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRow {
    pub(crate) id: u32,
    pub(crate) state: KeyState,
    pub(crate) wrapped: Wrapped,
    pub(crate) created_at: i64,
}

/// What a data key is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyState {
    /// It seals and opens.
    Primary,
    /// It opens.
    Retired,
}

pub(super) struct Rows {
    store: Store,
    clock: Arc<dyn Clock>,
}

impl Rows {
    pub(super) fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// All of a tenant.
    pub(super) async fn of(&self, tenant: TenantId) -> Result<Vec<KeyRow>, StoreError> {
        let row = self.store.platform().sealed(&name(tenant)).await?;
        Ok(row.as_deref().and_then(unpack).unwrap_or_default())
    }

    /// A tenant's first key, if it has none.
    pub(super) async fn add(&self, tenant: TenantId, id: u32, wrapped: Wrapped) -> Result<bool, StoreError> {
        let row = KeyRow { id, state: KeyState::Primary, wrapped, created_at: self.clock.now_micros() };
        self.store.platform().replace_sealed(&name(tenant), None, pack(&[row])).await
    }
}

fn name(tenant: TenantId) -> String {
    format!("data-keys/{}", tenant.0.simple())
}

fn pack(rows: &[KeyRow]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for row in rows {
        bytes.extend(row.id.to_be_bytes());
        bytes.push(u8::from(row.state == KeyState::Primary));
        bytes.extend(row.created_at.to_be_bytes());
        for part in [row.wrapped.kek.as_bytes(), &row.wrapped.bytes] {
            bytes.extend(u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
            bytes.extend(part);
        }
    }
    bytes
}

fn unpack(mut bytes: &[u8]) -> Option<Vec<KeyRow>> {
    let mut rows = Vec::new();
    while !bytes.is_empty() {
        let (id, rest) = bytes.split_first_chunk::<4>()?;
        let (state, rest) = rest.split_first()?;
        let (created_at, rest) = rest.split_first_chunk::<8>()?;
        let (kek, rest) = part(rest)?;
        let (wrapped, rest) = part(rest)?;
        let wrapped = Wrapped { kek: String::from_utf8(kek.to_vec()).ok()?, bytes: wrapped.to_vec() };
        let state = if *state == 1 { KeyState::Primary } else { KeyState::Retired };
        let created_at = i64::from_be_bytes(*created_at);
        rows.push(KeyRow { id: u32::from_be_bytes(*id), state, wrapped, created_at });
        bytes = rest;
    }
    Some(rows)
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}
