//! Passwords of local accounts: argon2id, a few at once, and the same cost whether or not there is such an account.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::{Output, ParamsString, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, PasswordHash, Version};
use model::Secret;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::timers::scaled;

/// Fewest characters of a password. There are no other rules: they make passwords worse.
pub(crate) const MIN_CHARACTERS: usize = 12;
/// Most bytes of a password.
pub(crate) const MAX_BYTES: usize = 256;

/// What OWASP asks of argon2id at least: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Passwords that are worked on at once: each takes its memory and a core.
const AT_ONCE: usize = 2;
/// How many may wait for that, and how long.
const WAITING: usize = 64;
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a password can't be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// Too short.
    #[error("must have at least 12 characters")]
    Short,
    /// Too long.
    #[error("must have at most 256 bytes")]
    Long,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PasswordError {
    /// Too many wait already, or it took too long.
    #[error("too many passwords at once")]
    Busy,
    /// No random bytes, or a row that is no hash.
    #[error("the password can't be worked on")]
    Broken,
}

/// Whether a password may be set.
pub(crate) fn fits(password: &str) -> Result<(), Unfit> {
    if password.chars().count() < MIN_CHARACTERS {
        Err(Unfit::Short)
    } else if password.len() > MAX_BYTES {
        Err(Unfit::Long)
    } else {
        Ok(())
    }
}

/// The work on passwords in this process.
pub(crate) struct Passwords {
    working: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// What the work is done in, one for each that is under way: allocated anew, it would stay with every thread that
    /// ever did some, and whoever tries passwords would fill the memory of the machine.
    memory: Arc<Mutex<Vec<Vec<Block>>>>,
    /// Of nobody's password, for logins that aren't there.
    nobody: OnceLock<Option<String>>,
}

impl Default for Passwords {
    fn default() -> Self {
        let slots = |count| Arc::new(Semaphore::new(count));
        Self { working: slots(AT_ONCE), waiting: slots(WAITING), memory: Arc::default(), nobody: OnceLock::new() }
    }
}

impl Passwords {
    /// How many may be worked on or wait.
    pub(crate) const MOST: u64 = WAITING as u64;

    /// How many are worked on or wait.
    pub(crate) fn taken(&self) -> u64 {
        Self::MOST.saturating_sub(self.waiting.available_permits() as u64)
    }

    /// The PHC string of a password.
    pub(crate) async fn hash(&self, password: Secret) -> Result<String, PasswordError> {
        self.work(move |memory| hashed(password.expose().as_bytes(), memory)).await?.ok_or(PasswordError::Broken)
    }

    /// Whether the password is the one of this PHC string. Without one it never is, after the same work.
    pub(crate) async fn is(self: &Arc<Self>, password: Secret, kept: Option<String>) -> Result<bool, PasswordError> {
        let own = self.clone();
        let same = self.work(move |memory| {
            let nobody = own.nobody.get_or_init(|| hashed(b"nobody", memory)).as_deref();
            let against = kept.as_deref().or(nobody)?;
            // One that is longer than any can be is not looked at, and is as wrong as another.
            let (begin, whole) = password
                .expose()
                .as_bytes()
                .split_at_checked(MAX_BYTES)
                .map_or((password.expose().as_bytes(), true), |(begin, rest)| (begin, rest.is_empty()));
            let same = is_of(begin, against, memory).unwrap_or(false);
            Some(same && whole && kept.is_some())
        });
        same.await?.ok_or(PasswordError::Broken)
    }

    /// Runs on a thread of its own. Who goes away meanwhile leaves the work, and its place, to its end.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Vec<Block>) -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let place = self.waiting.clone().try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let slot = tokio::time::timeout(scaled(PATIENCE), self.working.clone().acquire_owned()).await;
        let slot = slot.ok().and_then(Result::ok).ok_or(PasswordError::Busy)?;
        let held: [OwnedSemaphorePermit; 2] = [place, slot];
        let kept = self.memory.clone();
        let working = tokio::task::spawn_blocking(move || {
            let _held = held;
            let kept = || kept.lock().unwrap_or_else(PoisonError::into_inner);
            let mut memory = kept().pop().unwrap_or_default();
            let done = work(&mut memory);
            kept().push(memory);
            done
        });
        working.await.map_err(|_| PasswordError::Broken)
    }
}

fn hashed(password: &[u8], memory: &mut Vec<Block>) -> Option<String> {
    let mut salt = [0; 16];
    SystemRandom::new().fill(&mut salt).ok()?;
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).ok()?;
    let kept = PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).ok()?,
        salt: Some(Salt::new(&salt).ok()?),
        hash: Some(derived(password, &salt, params, memory)?),
    };
    Some(kept.to_string())
}

/// Whether the password is the one of this PHC string, in constant time; `None` for a string that is none.
fn is_of(password: &[u8], phc: &str, memory: &mut Vec<Block>) -> Option<bool> {
    let kept = PasswordHash::new(phc).ok().filter(|kept| kept.algorithm == ARGON2ID_IDENT)?;
    let (salt, hash) = (kept.salt.as_ref()?, kept.hash.as_ref()?);
    Some(derived(password, salt.as_ref(), Params::try_from(&kept).ok()?, memory)? == *hash)
}

fn derived(password: &[u8], salt: &[u8], params: Params, memory: &mut Vec<Block>) -> Option<Output> {
    memory.resize(params.block_count(), Block::new());
    let mut hash = [0; Params::DEFAULT_OUTPUT_LEN];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into_with_memory(password, salt, &mut hash, memory).ok()?;
    Output::new(&hash).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_is_kept_as_argon2id_and_known_again() {
        let passwords = Arc::new(Passwords::default());
        let kept = passwords.hash(secret("correct horse battery")).await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert_ne!(passwords.hash(secret("correct horse battery")).await.unwrap(), kept, "salted");
        assert!(passwords.is(secret("correct horse battery"), Some(kept.clone())).await.unwrap());
        assert!(!passwords.is(secret("correct horse batterx"), Some(kept.clone())).await.unwrap());
        assert!(!passwords.is(secret(""), Some(kept)).await.unwrap());
        assert!(!passwords.is(secret("nobody"), None).await.unwrap(), "the stand-in opens nothing");
        let long = "x".repeat(MAX_BYTES);
        let kept = passwords.hash(secret(&long)).await.unwrap();
        assert!(passwords.is(secret(&long), Some(kept.clone())).await.unwrap());
        assert!(!passwords.is(secret(&format!("{long}y")), Some(kept)).await.unwrap(), "nothing is cut off");
    }

    /// By the clock only in `make long`; else by the work that is done.
    #[tokio::test]
    async fn whether_there_is_an_account_is_not_told_by_the_time() {
        let rounds = if std::env::var_os("GATEHOUSE_LONG").is_some() { 100 } else { 1 };
        let passwords = Arc::new(Passwords::default());
        let kept = passwords.hash(secret("correct horse battery")).await.unwrap();
        assert!(!passwords.is(secret("a guess"), None).await.unwrap());
        let stand_in = passwords.nobody.get().and_then(Option::as_deref).unwrap_or_default();
        assert!(stand_in.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "the same work: {stand_in}");
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..2 * rounds {
            // Two of each kind in turns, and each goes first as often: what slows this machine down slows both.
            for known in [round % 2 == 0, round % 2 != 0] {
                let begun = std::time::Instant::now();
                assert!(!passwords.is(secret("a guess"), known.then(|| kept.clone())).await.unwrap());
                times[usize::from(known)].push(begun.elapsed().as_secs_f64());
            }
        }
        if rounds == 1 {
            return;
        }
        let [(not, not_error), (known, known_error)] = times.map(|mut times| {
            // What something else on this machine held up says nothing.
            times.sort_by(f64::total_cmp);
            times.truncate(times.len() * 4 / 5);
            let count = times.len() as f64;
            let mean = times.iter().sum::<f64>() / count;
            (mean, times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0) / count)
        });
        let t = (known - not) / (not_error + known_error).sqrt();
        println!("t = {t:.2} between {:.1} ms and {:.1} ms", not * 1e3, known * 1e3);
        assert!(t.abs() < 4.5, "t = {t:.1} between {not} s and {known} s");
    }

    #[tokio::test]
    async fn all_work_is_done_in_the_memory_of_what_may_be_under_way() {
        use argon2::PasswordVerifier as _;
        let passwords = Arc::new(Passwords::default());
        let tasks: Vec<_> = (0..6)
            .map(|at| {
                let passwords = passwords.clone();
                tokio::spawn(async move { passwords.hash(secret(&format!("password number {at}"))).await.unwrap() })
            })
            .collect();
        for (at, task) in tasks.into_iter().enumerate() {
            let kept = task.await.unwrap();
            let right = format!("password number {at}");
            // As everybody else reads it.
            assert!(Argon2::default().verify_password(right.as_bytes(), kept.as_str()).is_ok(), "{kept}");
            assert!(passwords.is(secret(&right), Some(kept.clone())).await.unwrap());
            assert!(!passwords.is(secret("password number"), Some(kept)).await.unwrap());
        }
        assert!(passwords.memory.lock().unwrap().len() <= AT_ONCE);
        for none in ["", "$argon2id$", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ", "$5$rounds=5$x$y"] {
            assert!(!passwords.is(secret("x"), Some(none.to_owned())).await.unwrap(), "{none}");
        }
    }

    #[tokio::test]
    async fn more_than_may_wait_are_told_so() {
        let passwords = Passwords::default();
        let _held = passwords.waiting.clone().acquire_many_owned(WAITING as u32).await.unwrap();
        assert_eq!(passwords.hash(secret("correct horse battery")).await, Err(PasswordError::Busy));
        assert_eq!(passwords.taken(), Passwords::MOST);
    }

    #[test]
    fn a_password_has_twelve_characters_and_at_most_256_bytes() {
        for (password, fit) in [
            ("elevenchars", Err(Unfit::Short)),
            ("twelve chars", Ok(())),
            ("ääääääääääää", Ok(())),
            ("äääääääääää", Err(Unfit::Short)),
            (&*"x".repeat(256), Ok(())),
            (&*"x".repeat(257), Err(Unfit::Long)),
        ] {
            assert_eq!(fits(password), fit, "{password}");
        }
    }
}
