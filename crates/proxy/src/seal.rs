//! Sealing what is handed to clients and must come back unchanged: session ids. The one place of the
//! data plane that touches a cipher.

use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

/// A key shared by the proxies of a fleet; made and rotated by control.
pub struct FleetKey {
    /// Which key sealed a text.
    pub id: u32,
    /// 256 random bits.
    pub key: [u8; 32],
}

struct Opened {
    id: u32,
    key: LessSafeKey,
}

#[derive(Default)]
struct Keys {
    current: Option<Opened>,
    previous: Option<Opened>,
}

/// Seals under the current fleet key, opens under the current and the previous one.
pub struct Sealer {
    keys: ArcSwap<Keys>,
    random: SystemRandom,
}

impl Default for Sealer {
    fn default() -> Self {
        Self { keys: ArcSwap::from_pointee(Keys::default()), random: SystemRandom::new() }
    }
}

impl Sealer {
    /// A sealer with a key of its own, for a proxy that has never seen control: ids live until it stops.
    pub fn with_own_key() -> Self {
        let sealer = Self::default();
        let mut key = [0; 32];
        if sealer.random.fill(&mut key).is_ok() {
            sealer.set_keys(FleetKey { id: 0, key }, None);
        }
        sealer
    }

    /// Takes the fleet's keys; what was sealed under keys that are in neither place opens no more.
    pub fn set_keys(&self, current: FleetKey, previous: Option<FleetKey>) {
        self.keys.store(Arc::new(Keys { current: open(&current), previous: previous.as_ref().and_then(open) }));
    }

    /// Whether there is a key to seal with.
    pub fn is_ready(&self) -> bool {
        self.keys.load().current.is_some()
    }

    /// Seals `plain` for the purpose `label`. `None` without a key or without randomness.
    pub fn seal(&self, label: &'static str, plain: &[u8]) -> Option<String> {
        let keys = self.keys.load();
        let key = keys.current.as_ref()?;
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut sealed = Vec::with_capacity(4 + NONCE_LEN + plain.len() + 16);
        sealed.extend_from_slice(&key.id.to_be_bytes());
        sealed.extend_from_slice(&nonce);
        let mut body = plain.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.key.seal_in_place_append_tag(nonce, Aad::from(label.as_bytes()), &mut body).ok()?;
        sealed.extend_from_slice(&body);
        Some(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens what [`Sealer::seal`] made for the same purpose; `None` for anything else.
    pub fn open(&self, label: &'static str, sealed: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (id, rest) = sealed.split_first_chunk_mut::<4>()?;
        let (nonce, body) = rest.split_first_chunk_mut::<NONCE_LEN>()?;
        let id = u32::from_be_bytes(*id);
        let keys = self.keys.load();
        let key = [&keys.current, &keys.previous].into_iter().flatten().find(|key| key.id == id)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let len = key.key.open_in_place(nonce, Aad::from(label.as_bytes()), body).ok()?.len();
        sealed.drain(..4 + NONCE_LEN);
        sealed.truncate(len);
        Some(sealed)
    }
}

fn open(key: &FleetKey) -> Option<Opened> {
    let unbound = UnboundKey::new(&AES_256_GCM, &key.key).ok()?;
    Some(Opened { id: key.id, key: LessSafeKey::new(unbound) })
}

#[cfg(test)]
mod tests;
