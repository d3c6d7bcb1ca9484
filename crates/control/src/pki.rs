//! The plane's own certificates: a CA that only control reads, control's certificate, and one for
//! the nodes of each pool.
//!
//! The CA's key stays a file with mode 0600; where certificates are made elsewhere it isn't there, and control
//! renews nothing. A node's certificate names its pool as `spiffe://gatehouse/pool/NAME`; that name is its
//! permission. While a CA is replaced, `ca.pem` holds both: first the one of `ca.key`, then the one that goes.

mod files;
mod follow;
mod issue;
mod peer;

use std::path::Path;

use rcgen::{Issuer, KeyPair};

pub use self::files::PkiError;
pub(crate) use self::follow::follow;
pub use self::peer::{Lifetime, PeerError, lifetime_of, pool_of};

/// Names of the files in the folder.
const CA: (&str, &str) = ("ca.pem", "ca.key");
const CONTROL: (&str, &str) = ("control.pem", "control.key");
const PROXY: (&str, &str) = ("proxy.pem", "proxy.key");

/// The pool of a proxy that nobody said anything about.
pub const DEFAULT_POOL: &str = "default";

/// A certificate and its private key, both PEM.
pub struct Certified {
    /// The certificate.
    pub cert: String,
    /// The private key; goes into a file with mode 0600 and nowhere else.
    pub key: String,
}

/// The certificates of one plane.
pub struct Pki {
    ca: String,
    /// Absent where certificates are made elsewhere.
    issuer: Option<Issuer<'static, KeyPair>>,
    control: Certified,
}

impl Pki {
    /// Makes what [`Pki::found`] makes and a certificate for a proxy of the pool `default`, all in one folder.
    pub fn init(dir: &Path) -> Result<(), PkiError> {
        Self::found(dir)?;
        if !files::exists(dir, PROXY) {
            files::write(dir, PROXY, &issue::node(&Self::issuer(dir)?, DEFAULT_POOL, issue::LEAF_DAYS)?)?;
        }
        Ok(())
    }

    /// Makes the plane's own certificates: the CA and control's. What is already there is kept, so a
    /// start after a half-done one completes it. A CA of which a part is lost is not made anew where
    /// certificates of it exist: proxies would refuse us.
    pub fn found(dir: &Path) -> Result<(), PkiError> {
        if [CA, CONTROL].iter().all(|pair| files::exists(dir, *pair)) {
            return Ok(());
        }
        files::folder(dir)?;
        if let Some(lost) = files::missing(dir, CA)
            && [CONTROL, PROXY].iter().any(|(leaf, _)| dir.join(leaf).exists())
        {
            return Err(PkiError::LostAuthority { path: lost });
        }
        if !files::exists(dir, CA) {
            files::write(dir, CA, &issue::authority()?)?;
        }
        if !files::exists(dir, CONTROL) {
            files::write(dir, CONTROL, &issue::control(&Self::issuer(dir)?)?)?;
        }
        Ok(())
    }

    /// Reads the folder; a private key that others can read is refused.
    pub fn load(dir: &Path) -> Result<Self, PkiError> {
        let issuer = files::exists(dir, CA).then(|| Self::issuer(dir)).transpose()?;
        Ok(Self { ca: files::read_public(dir, CA.0)?, issuer, control: files::read(dir, CONTROL)? })
    }

    /// Makes new certificates in the folder for those of control and of a proxy that have lived two thirds of their
    /// life, for as long again. Does nothing without the CA's key. Answers which were made.
    fn renew(dir: &Path, now: i64) -> Result<Vec<&'static str>, PkiError> {
        let mut made = vec![];
        if !files::exists(dir, CA) {
            return Ok(made);
        }
        for pair in [CONTROL, PROXY].into_iter().filter(|pair| files::exists(dir, *pair)) {
            let der = peer::first_of(&files::read(dir, pair)?.cert)?;
            let lifetime = peer::lifetime_of(&der)?;
            if !lifetime.is_ripe(now) {
                continue;
            }
            let issuer = Self::issuer(dir)?;
            let certified = if pair == CONTROL {
                issue::control(&issuer)?
            } else {
                issue::node(&issuer, &peer::pool_of(&der)?, lifetime.days())?
            };
            files::write(dir, pair, &certified)?;
            made.push(pair.0);
        }
        Ok(made)
    }

    /// The lifetime of control's certificate.
    pub fn lifetime(&self) -> Result<Lifetime, PeerError> {
        peer::lifetime_of(&peer::first_of(&self.control.cert)?)
    }

    /// Whether another reading found the same.
    fn is_same_as(&self, other: &Self) -> bool {
        (&self.ca, &self.control.cert, &self.control.key) == (&other.ca, &other.control.cert, &other.control.key)
    }

    fn signer(&self) -> Result<&Issuer<'static, KeyPair>, PkiError> {
        self.issuer.as_ref().ok_or(PkiError::NoAuthority)
    }

    /// A certificate for the proxies of `pool`: a slug as of a tenant's name.
    pub fn issue_node(&self, pool: &str) -> Result<Certified, PkiError> {
        issue::node(self.signer()?, pool, issue::LEAF_DAYS)
    }

    /// Writes what a proxy of `pool` needs into a folder of its own: `ca.pem`, `proxy.pem` and
    /// `proxy.key`, valid for `days`. With `keep_days` a certificate for this pool of this CA that is
    /// there and lives so much longer is kept; says whether a new one was made.
    pub fn issue_into(&self, out: &Path, pool: &str, days: u32, keep_days: Option<u32>) -> Result<bool, PkiError> {
        files::folder(out)?;
        let is_kept = keep_days.is_some_and(|left| self.has_time_left(out, pool, left));
        if !is_kept {
            files::write(out, PROXY, &issue::node(self.signer()?, pool, days)?)?;
            files::write_public(out, CA.0, &self.ca)?;
        }
        Ok(!is_kept)
    }

    /// Whether the folder holds a node's files that this plane still takes in `days`.
    fn has_time_left(&self, dir: &Path, pool: &str, days: u32) -> bool {
        let same_plane = std::fs::read_to_string(dir.join(CA.0)).is_ok_and(|ca| ca == self.ca);
        let Ok(Certified { cert, .. }) = files::read(dir, PROXY) else { return false };
        same_plane && peer::lives(cert.as_bytes(), pool, days)
    }

    /// The CA's certificate, which proxies need.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// What the link's listener serves with.
    pub fn server_tls(&self) -> Result<rustls::ServerConfig, wire::TlsError> {
        wire::server_tls(&self.ca, &self.control.cert, &self.control.key)
    }

    fn issuer(dir: &Path) -> Result<Issuer<'static, KeyPair>, PkiError> {
        let Certified { cert, key } = files::read(dir, CA)?;
        let key = KeyPair::from_pem(&key).map_err(PkiError::Certificate)?;
        Issuer::from_ca_cert_pem(&cert, key).map_err(PkiError::Certificate)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_made_folder_loads_and_its_keys_are_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("pki");
        Pki::init(&dir).unwrap();
        let pki = Pki::load(&dir).unwrap();
        assert!(pki.server_tls().is_ok());
        for file in ["ca.key", "control.key", "proxy.key"] {
            let mode = std::fs::metadata(dir.join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        let before = std::fs::read_to_string(dir.join("ca.pem")).unwrap();
        Pki::init(&dir).unwrap();
        assert_eq!(std::fs::read_to_string(dir.join("ca.pem")).unwrap(), before);
    }

    #[test]
    fn a_lost_authority_is_not_replaced_under_its_certificates() {
        for file in ["ca.pem", "ca.key"] {
            let dir = tempfile::tempdir().unwrap();
            Pki::init(dir.path()).unwrap();
            let lost = dir.path().join(file);
            std::fs::remove_file(&lost).unwrap();
            let refused = Pki::init(dir.path()).err();
            assert!(matches!(refused, Some(PkiError::LostAuthority { path }) if path == lost));
            assert!(!lost.exists());
            // Without certificates that depend on it there is nothing to break.
            for leaf in ["control.pem", "proxy.pem"] {
                std::fs::remove_file(dir.path().join(leaf)).unwrap();
            }
            Pki::init(dir.path()).unwrap();
        }
    }

    #[test]
    fn certificates_are_renewed_at_two_thirds_of_their_life_and_only_with_the_cas_key() {
        let dir = tempfile::tempdir().unwrap();
        Pki::init(dir.path()).unwrap();
        let text = |file: &str| std::fs::read_to_string(dir.path().join(file)).unwrap();
        let before = Pki::load(dir.path()).unwrap();
        let Lifetime { from, until } = before.lifetime().unwrap();
        let third = (until - from) / 3;
        assert_eq!(Pki::renew(dir.path(), from + third).unwrap(), [""; 0]);
        let key = std::fs::read(dir.path().join("ca.key")).unwrap();
        std::fs::remove_file(dir.path().join("ca.key")).unwrap();
        assert_eq!(Pki::renew(dir.path(), until).unwrap(), [""; 0], "made elsewhere");
        assert!(matches!(Pki::load(dir.path()).unwrap().issue_node("edge"), Err(PkiError::NoAuthority)));
        files::write(dir.path(), CA, &Certified { cert: text("ca.pem"), key: String::from_utf8(key).unwrap() })
            .unwrap();

        let proxy = text("proxy.pem");
        assert_eq!(Pki::renew(dir.path(), from + 2 * third + 1).unwrap(), ["control.pem", "proxy.pem"]);
        let after = Pki::load(dir.path()).unwrap();
        assert!(!after.is_same_as(&before) && after.server_tls().is_ok());
        assert_ne!(text("proxy.pem"), proxy);
        let renewed = peer::first_of(&text("proxy.pem")).unwrap();
        assert_eq!(pool_of(&renewed).unwrap(), DEFAULT_POOL);
        let old = peer::lifetime_of(&peer::first_of(&proxy).unwrap()).unwrap();
        assert_eq!(peer::lifetime_of(&renewed).unwrap().days(), old.days(), "for as long again");
    }

    #[tokio::test(start_paused = true)]
    async fn files_that_change_are_served_and_broken_ones_change_nothing() {
        let dir = tempfile::tempdir().unwrap();
        Pki::init(dir.path()).unwrap();
        let pki = Pki::load(dir.path()).unwrap();
        let (tls, mut served) = tokio::sync::watch::channel(std::sync::Arc::new(pki.server_tls().unwrap()));
        let clock = std::sync::Arc::new(model::SystemClock);
        let following = tokio::spawn(follow(dir.path().to_owned(), pki, tls, clock));
        std::fs::write(dir.path().join("control.pem"), "half a cert").unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        assert!(!served.has_changed().unwrap());
        let new = issue::control(&Pki::issuer(dir.path()).unwrap()).unwrap();
        files::write(dir.path(), CONTROL, &new).unwrap();
        served.changed().await.unwrap();
        following.abort();
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Pki::init(dir.path()).unwrap();
        let key = dir.path().join("ca.key");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Pki::load(dir.path()).err(), Some(PkiError::OpenToOthers { path }) if path == key));
    }

    #[test]
    fn a_node_certificate_names_its_pool_and_controls_names_none() {
        let dir = tempfile::tempdir().unwrap();
        Pki::init(dir.path()).unwrap();
        let pki = Pki::load(dir.path()).unwrap();
        let pool = |pem: &str| {
            let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
            pool_of(&pem.contents)
        };
        assert_eq!(pool(&pki.issue_node("edge-eu").unwrap().cert).unwrap(), "edge-eu");
        assert!(matches!(pool(&pki.control.cert), Err(PeerError::NoPool)));
        assert!(matches!(pki.issue_node("No Slug"), Err(PkiError::PoolName(_))));
    }
}
