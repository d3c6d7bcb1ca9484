//! What is fetched from a tenant's identity providers. Nobody decides it, so it has no audit row.

use model::IssuerId;

use super::TenantStore;
use crate::bounds::ISSUER_BYTES;
use crate::{Committed, FetchedKeys, IssuerRecord, StoreError};

impl TenantStore {
    /// Keeps what was fetched from an identity provider. Proxies are told, urgently, if its keys are others, and
    /// once an hour that they are still the same. `Bound` for what is too long.
    pub async fn set_issuer_keys(
        &self,
        id: IssuerId,
        fetched: FetchedKeys,
    ) -> Result<Committed<IssuerRecord>, StoreError> {
        fetched.check_size()?;
        self.tried(id, |record| record.fetched(fetched)).await
    }

    /// Notes that an identity provider could not be asked, and why: people read it.
    pub async fn set_issuer_failure(&self, id: IssuerId, text: &str, at: i64) -> Result<(), StoreError> {
        self.tried(id, |record| record.failed(text.to_owned(), at)).await.map(drop)
    }

    async fn tried(
        &self,
        id: IssuerId,
        to: impl FnOnce(&IssuerRecord) -> IssuerRecord,
    ) -> Result<Committed<IssuerRecord>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let before = self.issuer_at(&change, id, None).await?;
        let after = to(&before);
        if after == before {
            return change.nothing(before).await;
        }
        self.write_issuer(&change, &after).await?;
        let notice = self.issuer_notice(&tenant, Some(&before), &after);
        change.commit_unaudited(notice, after).await
    }
}

impl FetchedKeys {
    pub(crate) fn check_size(&self) -> Result<(), StoreError> {
        let limit = ISSUER_BYTES;
        let fits = [&self.document, &self.metadata].iter().all(|text| text.len() <= limit as usize);
        if fits { Ok(()) } else { Err(StoreError::Bound { what: "bytes of an issuer's documents", limit }) }
    }
}
