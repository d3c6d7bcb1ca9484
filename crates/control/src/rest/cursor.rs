//! Where a list goes on: an opaque text, sealed for one list of one tenant.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::TenantId;
use ring::hmac;

use crate::rest::code::Code;
use crate::rest::parameters::{Parameters, bad};
use crate::rest::problem::Problem;

/// Bytes of the seal that stands before a position.
const SEAL: usize = 16;
/// Characters that a cursor of ours may have.
const MAX_CURSOR: usize = 512;

/// The key that seals cursors; the same on every replica.
#[derive(Clone)]
pub(crate) struct Cursors(hmac::Key);

impl Cursors {
    /// Seals with this key.
    pub(crate) fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The cursor after `position` in a list; `None` tenant for the platform's lists.
    fn seal(&self, list: &'static str, tenant: Option<TenantId>, position: &str) -> String {
        let tag = self.tag(list, tenant, position.as_bytes());
        let sealed = tag.as_ref().iter().take(SEAL).chain(position.as_bytes()).copied().collect::<Vec<u8>>();
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// The position in a cursor of this list of this tenant.
    fn open(&self, list: &'static str, tenant: Option<TenantId>, cursor: &str) -> Option<String> {
        if cursor.len() > MAX_CURSOR {
            return None;
        }
        let sealed = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (seal, position) = sealed.split_at_checked(SEAL)?;
        let tag = self.tag(list, tenant, position);
        let same = bool::from(subtle::ConstantTimeEq::ct_eq(tag.as_ref().get(..SEAL)?, seal));
        same.then(|| String::from_utf8(position.to_vec()).ok()).flatten()
    }

    fn tag(&self, list: &'static str, tenant: Option<TenantId>, position: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        let tenant = tenant.map(|tenant| tenant.to_string()).unwrap_or_default();
        for part in [list.as_bytes(), tenant.as_bytes(), position] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.sign()
    }

    /// The page that a request asks for.
    pub(crate) fn asked<P: std::str::FromStr>(
        &self,
        list: &'static str,
        tenant: Option<TenantId>,
        parameters: &Parameters,
    ) -> Result<Asked<P>, Problem> {
        self.asked_with(list, tenant, parameters, parameters.page_size()?)
    }

    /// The same with a size that was read already.
    pub(crate) fn asked_with<P: std::str::FromStr>(
        &self,
        list: &'static str,
        tenant: Option<TenantId>,
        parameters: &Parameters,
        size: u32,
    ) -> Result<Asked<P>, Problem> {
        let after = match parameters.text("cursor") {
            None => None,
            Some(cursor) => {
                let position = self.open(list, tenant, cursor).and_then(|position| position.parse().ok());
                Some(position.ok_or_else(|| bad(Code::Cursor, "not a cursor of this list".to_owned()))?)
            }
        };
        Ok(Asked { cursors: self.clone(), list, tenant, after, size })
    }
}

/// One page of a list as it was asked for.
pub(crate) struct Asked<P> {
    cursors: Cursors,
    list: &'static str,
    tenant: Option<TenantId>,
    /// Only what comes after this.
    pub(crate) after: Option<P>,
    /// Items of the page.
    size: u32,
}

impl<P: ToString> Asked<P> {
    /// How many to read: one more than the page has, which tells whether another page follows.
    pub(crate) fn reads(&self) -> u32 {
        self.size + 1
    }

    /// Cuts what was read to the page, and gives the cursor of the next.
    pub(crate) fn cut<T>(&self, items: &mut Vec<T>, position: impl FnOnce(&T) -> P) -> Option<String> {
        let more = items.len() > self.size as usize;
        items.truncate(self.size as usize);
        let last = items.last().filter(|_| more)?;
        Some(self.cursors.seal(self.list, self.tenant, &position(last).to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_fits_its_list_of_its_tenant_only() {
        let cursors = Cursors::new(&[7; 32]);
        let (mine, theirs) = (TenantId::fresh(), TenantId::fresh());
        let cursor = cursors.seal("servers", Some(mine), "a-position");
        assert_eq!(cursors.open("servers", Some(mine), &cursor).as_deref(), Some("a-position"));
        assert_eq!(Cursors::new(&[7; 32]).open("servers", Some(mine), &cursor).as_deref(), Some("a-position"));
        for (list, tenant) in [("servers", Some(theirs)), ("servers", None), ("keys", Some(mine))] {
            assert_eq!(cursors.open(list, tenant, &cursor), None, "{list} {tenant:?}");
        }
        assert_eq!(Cursors::new(&[8; 32]).open("servers", Some(mine), &cursor), None);
    }

    #[test]
    fn a_cursor_with_one_other_character_is_none() {
        let cursors = Cursors::new(&[7; 32]);
        let cursor = cursors.seal("servers", None, "a-position");
        for at in 0..cursor.len() {
            let mut other = cursor.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            assert_eq!(cursors.open("servers", None, &other), None, "{other}");
        }
        for text in ["", " ", "AAAA", &"A".repeat(600)] {
            assert_eq!(cursors.open("servers", None, text), None, "{text}");
        }
    }
}
