//! Connections that show a client certificate: a pool for each tenant, upstream and certificate, that serves nobody else.

use std::time::Duration;

use egress::{Egress, Identity, Limits, Upstream};
use model::TenantId;
use sha2::{Digest as _, Sha256};
use wire::ClientCertificate;

use crate::table::Mount;

/// Most pools.
pub(super) const POOLS: u64 = 1000;
/// A pool that nobody asked for so long goes.
const IDLE: Duration = Duration::from_secs(900);
/// Idle connections of one.
const IDLE_CONNECTIONS: usize = 64;

/// The pools. Each closes what was made under another address policy by itself.
pub(super) struct Certificates {
    pools: moka::sync::Cache<Key, Upstream>,
}

/// Whose, where, how patiently, and with what.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    tenant: TenantId,
    origin: String,
    waits: [Duration; 2],
    certificate: [u8; 32],
}

impl Default for Certificates {
    fn default() -> Self {
        Self { pools: moka::sync::Cache::builder().max_capacity(POOLS).time_to_idle(IDLE).build() }
    }
}

impl Certificates {
    /// The pool of a mount's upstream that shows this certificate.
    pub(super) fn pool(
        &self,
        egress: &Egress,
        mount: &Mount,
        certificate: &ClientCertificate,
    ) -> Result<Upstream, String> {
        let spec = &mount.spec;
        let url = spec.url.url();
        let key = Key {
            tenant: spec.tenant,
            origin: url.origin().ascii_serialization(),
            waits: [spec.connect_timeout, spec.read_timeout],
            certificate: fingerprint(certificate),
        };
        if let Some(pool) = self.pools.get(&key) {
            return Ok(pool);
        }
        let identity = Identity::from_pem(certificate.chain.expose(), certificate.key.expose())
            .map_err(|error| error.to_string())?;
        let limits =
            Limits { connect: spec.connect_timeout, first_byte: spec.read_timeout, idle_connections: IDLE_CONNECTIONS };
        let pool = egress.upstream_as(spec.tenant, url, limits, &identity).map_err(|refusal| refusal.to_string())?;
        self.pools.insert(key, pool.clone());
        Ok(pool)
    }

    /// How many there are.
    pub(super) fn fill(&self) -> u64 {
        self.pools.entry_count()
    }
}

/// SHA-256 of both: another key with the same certificate is another pool.
fn fingerprint(certificate: &ClientCertificate) -> [u8; 32] {
    let mut hash = Sha256::new();
    for text in [certificate.chain.expose(), certificate.key.expose()] {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}
