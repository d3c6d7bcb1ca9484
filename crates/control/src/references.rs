//! Credentials by reference: they lie with the operator, in a folder or in a KV store of the Vault kind, and are read when
//! they are needed. Nothing of them is stored.
//!
//! A reference is a source and a relative name, and reaches only what lies below `<root>/<tenant id>/`.

mod files;
mod kv;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::{Clock, TenantId};
use store::Reference;
use url::Url;
use zeroize::Zeroizing;

pub(crate) use self::files::read_closed;
use self::kv::Kv;
use crate::timers::{micros, scaled};

/// Bytes that a credential may have, wherever it comes from.
pub(crate) const MAX_CREDENTIAL: usize = 16 << 10;
/// For how long the answer of a KV store is kept, unless somebody has reason to doubt it. Files are read each time.
const KEPT: Duration = Duration::from_secs(30);
/// Segments of a name, and characters of the whole.
const MAX_SEGMENTS: usize = 16;
const MAX_NAME: usize = 512;

/// Where credentials by reference may lie, as the operator configured it.
#[derive(Debug, Clone, Default)]
pub struct ReferenceSources {
    /// The root folder.
    pub files: Option<PathBuf>,
    /// The KV store.
    pub http: Option<ReferenceHttp>,
}

/// A KV store of the Vault or OpenBao kind, version 2.
#[derive(Debug, Clone)]
pub struct ReferenceHttp {
    /// Where its data is: scheme, host, port, and the path of the engine with `data` behind it.
    pub url: Url,
    /// The file with the token, read for each question.
    pub token_file: PathBuf,
    /// A path below it, without slashes around.
    pub prefix: String,
}

/// Why a reference leads to nothing. Shows no secret and no path of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReferenceError {
    /// No source of this name is configured.
    #[error(
        "no source of this name is configured: `files` is the folder of reference_files, `http` the store of reference_http_url"
    )]
    NoSource,
    /// The name leads out of the tenant's part of the source.
    #[error("the reference leads out of the tenant's part of its source")]
    Outside,
    /// Nothing is there.
    #[error("nothing is where the reference leads")]
    Missing,
    /// Others can read it.
    #[error("what the reference leads to can be read by others: it must have the mode 0600")]
    Open,
    /// Too long, or no text.
    #[error("what the reference leads to is no credential of at most 16 KiB")]
    Malformed,
    /// The source does not answer now.
    #[error("the source of the reference does not answer now")]
    Unavailable,
}

/// A credential as it was found.
pub(crate) type Found = Arc<Zeroizing<Vec<u8>>>;

type Place = (TenantId, String);

/// The configured sources.
#[derive(Clone)]
pub(crate) struct References {
    files: Option<PathBuf>,
    kv: Option<Arc<Kv>>,
    clock: Arc<dyn Clock>,
    kept: Arc<Mutex<HashMap<Place, (Found, i64)>>>,
}

impl References {
    /// The most answers of the KV store that are kept.
    pub(crate) const MOST: usize = 4_096;
    /// The source that is a folder.
    pub(crate) const FILES: &'static str = "files";
    /// The source that is a KV store.
    pub(crate) const HTTP: &'static str = "http";

    pub(crate) fn new(sources: &ReferenceSources, clock: Arc<dyn Clock>) -> Self {
        let kv = sources.http.as_ref().and_then(|http| Kv::new(http).map(Arc::new));
        Self { files: sources.files.clone(), kv, clock, kept: Arc::default() }
    }

    /// Whether a reference can be kept: its source is there, and its name stays inside. What lies there may come later.
    pub(crate) fn check(&self, reference: &Reference) -> Result<(), ReferenceError> {
        segments(&reference.name)?;
        match reference.source.as_str() {
            Self::FILES if self.files.is_some() => Ok(()),
            Self::HTTP if self.kv.is_some() => Ok(()),
            _ => Err(ReferenceError::NoSource),
        }
    }

    /// What lies there. `anew` asks the source itself, whatever is kept.
    pub(crate) async fn read(
        &self,
        tenant: TenantId,
        reference: &Reference,
        anew: bool,
    ) -> Result<Found, ReferenceError> {
        let name: Vec<String> = segments(&reference.name)?.into_iter().map(str::to_owned).collect();
        match (reference.source.as_str(), &self.files, &self.kv) {
            (Self::FILES, Some(root), _) => {
                let root = root.clone();
                let read = tokio::task::spawn_blocking(move || files::read(&root, tenant, &name));
                let bytes = read.await.map_err(|_| ReferenceError::Unavailable)??;
                Ok(Arc::new(bytes))
            }
            (Self::HTTP, _, Some(kv)) => {
                let place = (tenant, reference.name.clone());
                let now = self.clock.now_micros();
                if !anew && let Some(found) = self.kept_at(&place, now) {
                    return Ok(found);
                }
                let found = Arc::new(kv.read(tenant, &name).await?);
                self.keep(place, &found, now);
                Ok(found)
            }
            _ => Err(ReferenceError::NoSource),
        }
    }

    /// How many answers are kept.
    pub(crate) fn len(&self) -> usize {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn kept_at(&self, place: &Place, now: i64) -> Option<Found> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(place).filter(|(_, until)| now < *until).map(|(found, _)| found.clone())
    }

    fn keep(&self, place: Place, found: &Found, now: i64) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= Self::MOST {
            kept.retain(|_, (_, until)| now < *until);
        }
        if kept.len() < Self::MOST {
            kept.insert(place, (found.clone(), now.saturating_add(micros(scaled(KEPT)))));
        }
    }
}

/// The parts of a relative name that goes only down.
fn segments(name: &str) -> Result<Vec<&str>, ReferenceError> {
    let fits =
        |segment: &&str| !segment.is_empty() && *segment != "." && *segment != ".." && !segment.contains(['\\', '\0']);
    let segments: Vec<&str> = name.split('/').collect();
    let good = name.len() <= MAX_NAME && segments.len() <= MAX_SEGMENTS && segments.iter().all(fits);
    if good && !name.chars().any(char::is_control) { Ok(segments) } else { Err(ReferenceError::Outside) }
}

#[cfg(test)]
mod tests;
