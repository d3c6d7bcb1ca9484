//! That who holds a key's secret stands behind a question for a credential.
//!
//! A proxy makes it while it has the presented key in hand; control keeps what it takes to check it, and what proxies
//! are pushed is of no use for it.

use model::{ConnectionId, KeyId, ServerId, TenantId, UserId};
use ring::hmac;

/// How old evidence may be, in microseconds either way.
pub const EVIDENCE_LIFETIME: i64 = 60_000_000;

const LABEL: &[u8] = b"gatehouse/lease/v1";

/// What the evidence is about: it is good for nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease<'a> {
    /// The proxy that asks.
    pub node: &'a str,
    /// Whose connection is asked for.
    pub tenant: TenantId,
    /// The key that was presented.
    pub key: KeyId,
    /// For whom its holder acts, if for somebody.
    pub user: Option<UserId>,
    /// The server that is to be called.
    pub server: ServerId,
    /// The connection, if one is asked for.
    pub connection: Option<ConnectionId>,
    /// When it was made, microseconds since 1970.
    pub at: i64,
    /// Never used twice.
    pub nonce: [u8; 16],
}

/// Signs a question with [`model::KeyText::evidence`] of the presented key.
pub fn sign(evidence: &[u8; 32], lease: &Lease<'_>) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, evidence), &lease.bytes());
    let mut mac = [0; 32];
    mac.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    mac
}

/// Whether `mac` was made with the same evidence for the same question, within [`EVIDENCE_LIFETIME`] of `now`. That its
/// nonce is new, the caller sees to.
pub fn verify(evidence: &[u8; 32], lease: &Lease<'_>, mac: &[u8; 32], now: i64) -> bool {
    now.saturating_sub(lease.at).saturating_abs() <= EVIDENCE_LIFETIME
        && hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, evidence), &lease.bytes(), mac).is_ok()
}

impl Lease<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = LABEL.to_vec();
        let mut add = |part: &[u8]| {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        };
        add(self.node.as_bytes());
        add(self.tenant.0.as_bytes());
        add(self.key.as_str().as_bytes());
        add(self.user.as_ref().map_or(&[], |user| user.0.as_bytes()));
        add(self.server.0.as_bytes());
        add(self.connection.as_ref().map_or(&[], |connection| connection.0.as_bytes()));
        add(&self.at.to_be_bytes());
        add(&self.nonce);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn lease() -> Lease<'static> {
        Lease {
            node: "default/1",
            tenant: TenantId(Uuid::from_u128(1)),
            key: "0123456789abcdef".parse().unwrap(),
            user: None,
            server: ServerId(Uuid::from_u128(2)),
            connection: Some(ConnectionId(Uuid::from_u128(3))),
            at: 1_000_000_000,
            nonce: [4; 16],
        }
    }

    #[test]
    fn evidence_is_good_for_one_question_for_a_minute() {
        let mac = sign(&[7; 32], &lease());
        assert!(verify(&[7; 32], &lease(), &mac, lease().at));
        assert!(!verify(&[8; 32], &lease(), &mac, lease().at), "another secret");
        for late in [EVIDENCE_LIFETIME + 1, -EVIDENCE_LIFETIME - 1] {
            assert!(!verify(&[7; 32], &lease(), &mac, lease().at + late));
        }
        let others = [
            Lease { node: "default/2", ..lease() },
            Lease { tenant: TenantId(Uuid::from_u128(9)), ..lease() },
            Lease { key: "0123456789abcdeg".parse().unwrap(), ..lease() },
            Lease { user: Some(UserId(Uuid::from_u128(9))), ..lease() },
            Lease { server: ServerId(Uuid::from_u128(9)), ..lease() },
            Lease { connection: None, ..lease() },
            Lease { at: lease().at + 1, ..lease() },
            Lease { nonce: [5; 16], ..lease() },
        ];
        for other in others {
            assert!(!verify(&[7; 32], &other, &mac, lease().at), "{other:?}");
        }
    }
}
