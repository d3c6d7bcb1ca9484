//! Where a secret belongs: authenticated with it, so that an envelope opens nowhere else.

use model::TenantId;
use uuid::Uuid;

/// Stands in for the tenant in coordinates of the platform's own secrets.
pub const PLATFORM: TenantId = TenantId(Uuid::nil());

/// The one place where an envelope may be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coordinates<'a> {
    /// The tenant, or [`PLATFORM`].
    pub tenant: TenantId,
    /// The kind of record, e.g. `connection`.
    pub kind: &'a str,
    /// The record's id.
    pub record: Uuid,
    /// The field of the record.
    pub field: &'a str,
    /// Counts writes of the secret, not of the row: renaming a server re-encrypts nothing.
    pub secret_version: u64,
}

impl Coordinates<'_> {
    /// The authenticated data: every field behind its length, so that none can shift its meaning
    /// into its neighbour; then the envelope's header.
    pub(crate) fn authenticated(&self, header: &[u8; 8]) -> Vec<u8> {
        let mut data = b"gatehouse/aad/v2".to_vec();
        for field in
            [self.tenant.0.as_bytes().as_slice(), self.kind.as_bytes(), self.record.as_bytes(), self.field.as_bytes()]
        {
            // Lengths beyond u32 can't be held in memory by the callers' records; saturating keeps this total.
            data.extend(u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
            data.extend(field);
        }
        data.extend(self.secret_version.to_be_bytes());
        data.extend(header);
        data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Coordinates<'static> = Coordinates {
        tenant: TenantId(Uuid::from_u128(1)),
        kind: "connection",
        record: Uuid::from_u128(2),
        field: "token",
        secret_version: 3,
    };

    #[test]
    fn the_layout_is_the_documented_one() {
        let mut expected = b"gatehouse/aad/v2".to_vec();
        expected.extend([0, 0, 0, 16]);
        expected.extend(1u128.to_be_bytes());
        expected.extend([0, 0, 0, 10]);
        expected.extend(b"connection");
        expected.extend([0, 0, 0, 16]);
        expected.extend(2u128.to_be_bytes());
        expected.extend([0, 0, 0, 5]);
        expected.extend(b"token");
        expected.extend(3u64.to_be_bytes());
        expected.extend(b"GH\x02\x01\0\0\0\x01");
        assert_eq!(AT.authenticated(b"GH\x02\x01\0\0\0\x01"), expected);
    }

    #[test]
    fn no_field_shifts_into_its_neighbour() {
        let header = [0; 8];
        let joined = Coordinates { kind: "ab", field: "c", ..AT };
        let shifted = Coordinates { kind: "a", field: "bc", ..AT };
        assert_ne!(joined.authenticated(&header), shifted.authenticated(&header));
    }
}
