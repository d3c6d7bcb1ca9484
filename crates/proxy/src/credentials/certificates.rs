//! Connections that show a client certificate: a pool for each tenant, upstream and certificate, that serves nobody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use egress::{Egress, Identity, Limits, Upstream};
use model::TenantId;
use sha2::{Digest as _, Sha256};
use wire::ClientCertificate;

use crate::table::Mount;

/// Most pools that several header lines share.
pub(super) const POOLS: usize = 1000;
/// Idle connections of one.
const IDLE_CONNECTIONS: usize = 64;

/// The pools. Each belongs to the header lines that show its certificate and goes with the last of them; it closes what
/// was made under another address policy by itself.
#[derive(Default)]
pub(super) struct Certificates {
    pools: Mutex<HashMap<Key, Weak<Upstream>>>,
}

/// Whose, where, how patiently, and with what.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    tenant: TenantId,
    origin: String,
    waits: [Duration; 2],
    certificate: [u8; 32],
}

impl Certificates {
    /// The pool of a mount's upstream that shows this certificate.
    pub(super) fn pool(
        &self,
        egress: &Egress,
        mount: &Mount,
        certificate: &ClientCertificate,
    ) -> Result<Arc<Upstream>, String> {
        let spec = &mount.spec;
        let url = spec.url.url();
        let key = Key {
            tenant: spec.tenant,
            origin: url.origin().ascii_serialization(),
            waits: [spec.connect_timeout, spec.read_timeout],
            certificate: fingerprint(certificate),
        };
        if let Some(pool) = self.lock().get(&key).and_then(Weak::upgrade) {
            return Ok(pool);
        }
        let identity = Identity::from_pem(certificate.chain.expose(), certificate.key.expose())
            .map_err(|error| error.to_string())?;
        let limits =
            Limits { connect: spec.connect_timeout, first_byte: spec.read_timeout, idle_connections: IDLE_CONNECTIONS };
        let pool = egress.upstream_as(spec.tenant, url, limits, &identity).map_err(|refusal| refusal.to_string())?;
        let pool = Arc::new(pool);
        let mut pools = self.lock();
        if pools.len() >= POOLS {
            pools.retain(|_, pool| pool.strong_count() > 0);
        }
        // Beyond the bound each has its own, as many as there are header lines.
        if pools.len() < POOLS {
            pools.insert(key, Arc::downgrade(&pool));
        }
        Ok(pool)
    }

    /// How many there are.
    pub(super) fn fill(&self) -> u64 {
        self.lock().values().filter(|pool| pool.strong_count() > 0).count() as u64
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Weak<Upstream>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
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
