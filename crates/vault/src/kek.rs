//! The keys above all keys: whoever holds one wraps data keys and opens them again.
//!
//! Several can be read at once, the first of them wraps. A provider may be a file, a variable, or a service far away.

use std::sync::Arc;

use async_trait::async_trait;
use model::TenantId;
use zeroize::Zeroizing;

use crate::derive;
use crate::{DataKey, VaultError};

/// The longest form of a wrapped key that is looked at: what a service answers is not trusted before.
pub const MAX_WRAPPED: usize = 4096;
/// The longest name of a KEK in a row.
pub const MAX_KEK_ID: usize = 256;

/// Whose data key is wrapped; authenticated with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyOf {
    /// The tenant, or [`crate::PLATFORM`].
    pub tenant: TenantId,
    /// The number under which envelopes name the key.
    pub id: u32,
}

/// Why a data key can't be wrapped or opened.
#[derive(Debug, thiserror::Error)]
pub enum KekError {
    /// It never will be: altered, another key's, or of a KEK that isn't configured.
    #[error("the data key can't be opened")]
    Vault(#[from] VaultError),
    /// Whoever holds the KEK does not answer; later it may.
    #[error("the holder of the key `{kek}` does not answer")]
    Unavailable {
        /// Which KEK.
        kek: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Somebody who holds a KEK.
#[async_trait]
pub trait KekProvider: Send + Sync + 'static {
    /// The name under which rows keep what it wrapped; another one for each key.
    fn id(&self) -> &str;
    /// Wraps a data key. Two forms of one key differ.
    async fn wrap(&self, of: KeyOf, plain: &[u8; 32]) -> Result<Vec<u8>, KekError>;
    /// Opens what [`KekProvider::wrap`] gave for the same `of`.
    async fn unwrap(&self, of: KeyOf, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, KekError>;
    /// Whether it would answer now.
    async fn health(&self) -> Result<(), KekError>;
}

/// A data key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped {
    /// The KEK that opens it.
    pub kek: String,
    /// Its form under that KEK.
    pub bytes: Vec<u8>,
}

/// All KEKs of a process.
#[derive(Clone)]
pub struct Keks {
    all: Arc<[Arc<dyn KekProvider>]>,
    writing: Arc<dyn KekProvider>,
}

impl Keks {
    /// `writing` wraps; `readable` open too what was wrapped before.
    pub fn new(writing: Arc<dyn KekProvider>, readable: Vec<Arc<dyn KekProvider>>) -> Self {
        let all = std::iter::once(writing.clone()).chain(readable).collect();
        Self { all, writing }
    }

    /// The KEK that wraps.
    pub fn writing(&self) -> &str {
        self.writing.id()
    }

    /// All that can be read, the writing one first, each with its health.
    pub async fn health(&self) -> Vec<(String, Result<(), KekError>)> {
        let mut all = Vec::with_capacity(self.all.len());
        for kek in self.all.iter() {
            all.push((kek.id().to_owned(), kek.health().await));
        }
        all
    }

    /// Wraps with the writing KEK.
    pub async fn wrap(&self, key: &DataKey) -> Result<Wrapped, KekError> {
        let bytes = self.writing.wrap(key.of(), &key.key).await?;
        // What can't be opened again later must not be stored now.
        if bytes.len() > MAX_WRAPPED {
            return Err(VaultError::WrappedTooLong.into());
        }
        Ok(Wrapped { kek: self.writing.id().to_owned(), bytes })
    }

    /// Opens the stored form of a data key.
    pub async fn unwrap(&self, of: KeyOf, wrapped: &Wrapped) -> Result<DataKey, KekError> {
        if wrapped.bytes.len() > MAX_WRAPPED {
            return Err(VaultError::WrappedTooLong.into());
        }
        let kek = self.all.iter().find(|kek| kek.id() == wrapped.kek).ok_or(VaultError::OtherKek)?;
        let key = kek.unwrap(of, &wrapped.bytes).await?;
        Ok(DataKey { tenant: of.tenant, id: of.id, key })
    }
}

impl DataKey {
    /// A fresh key for a tenant. Store what [`Keks::wrap`] makes of it.
    pub fn generate(of: KeyOf) -> Result<Self, VaultError> {
        Ok(Self { tenant: of.tenant, id: of.id, key: Zeroizing::new(derive::random()?) })
    }

    /// Whose it is.
    pub fn of(&self) -> KeyOf {
        KeyOf { tenant: self.tenant, id: self.id }
    }
}

impl std::fmt::Debug for Keks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.all.iter().map(|kek| kek.id())).finish()
    }
}
