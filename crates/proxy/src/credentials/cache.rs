//! The one cache of header lines: bounded as a whole and for each tenant, in pieces, so that two cores seldom meet.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{ConnectionId, Generation, ServerId, TenantId};
use tokio::time::Instant;

use super::{AWAY, Lines, NoCredential, Part};

/// Most entries.
pub(super) const ENTRIES: usize = 50_000;
/// Most bytes of all.
pub(super) const BYTES: usize = 64 << 20;
/// No tenant has more than this part of either: whoever has many users must not push out the others'.
const SHARE: usize = 4;
/// When a bound is reached, this part of what fills it goes at once, the longest unused first.
const AT_ONCE: usize = 16;
/// So many locks share the entries.
const SHARDS: usize = 64;
/// What an entry without lines takes.
const APIECE: usize = 256;
/// How long what an upstream refused twice is not shown to it again. After it, one request tries.
const REFUSED: Duration = Duration::from_secs(60);
/// How long an answer that there are no lines is good.
pub(super) const DENIED: Duration = Duration::from_secs(1);

/// For how long after an answer failed to come nobody waits for the next one, where there are lines that will do.
const AWHILE: Duration = Duration::from_secs(60);

/// What lines are good for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) tenant: TenantId,
    pub(super) server: ServerId,
    pub(super) generation: Generation,
    pub(super) part: Part,
    /// SHA-256 of the caller's token, where that is exchanged.
    pub(super) token: Option<[u8; 32]>,
}

/// What is known of a key.
pub(super) enum Known {
    /// To be used; asked for again in the background if `old`.
    Good { lines: Arc<Lines>, old: bool },
    /// There are none for the moment.
    Denied(Arc<NoCredential>),
    /// Nothing that may be used while control answers.
    Nothing,
}

/// Lines by key.
pub(super) struct Cache {
    shards: [Mutex<HashMap<Key, Entry>>; SHARDS],
    hasher: RandomState,
    tenants: Mutex<HashMap<TenantId, Filled>>,
    entries: AtomicUsize,
    bytes: AtomicUsize,
    clock: AtomicU64,
}

#[derive(Clone, Copy, Default)]
struct Filled {
    entries: usize,
    bytes: usize,
}

struct Entry {
    lines: Option<Arc<Lines>>,
    denied: Option<(Instant, Arc<NoCredential>)>,
    refused: Option<Refused>,
    /// Held while control is asked: one asks for all.
    asking: Arc<tokio::sync::Mutex<()>>,
    /// When it was last used, as the cache counts.
    used: u64,
}

/// The upstream refused this generation twice.
struct Refused {
    generation: i64,
    until: Instant,
    /// A request is under way that finds out whether it is still so.
    is_tried: bool,
    why: Arc<NoCredential>,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            tenants: Mutex::default(),
            entries: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            clock: AtomicU64::new(0),
        }
    }
}

impl Cache {
    /// What is known, if no token older than `oldest` will do nor the one that `failed`.
    pub(super) fn known(&self, key: &Key, oldest: i64, failed: Option<&Lines>) -> Known {
        let now = Instant::now();
        let mut shard = self.shard(key);
        let Some(entry) = shard.get_mut(key) else { return Known::Nothing };
        entry.used = self.clock.fetch_add(1, Ordering::Relaxed);
        if entry.refused.as_ref().is_some_and(|refused| refused.generation < oldest) {
            entry.refused = None;
        }
        if let Some(refused) = &entry.refused {
            match failed {
                None if now >= refused.until => (),
                // The one that tries may ask for another token.
                Some(failed) if refused.is_tried || refused.generation < failed.token_generation => (),
                _ => return Known::Denied(refused.why.clone()),
            }
        }
        let usable = entry.may_use(oldest, failed).cloned();
        if let Some(lines) = usable.as_ref().filter(|lines| now < lines.good) {
            let known = Known::Good { lines: lines.clone(), old: now >= lines.fresh };
            // This request tries; all others wait for what it finds.
            if let (Some(refused), None) = (&mut entry.refused, failed) {
                (refused.until, refused.is_tried) = (now + REFUSED, true);
            }
            return known;
        }
        match &entry.denied {
            // Who was away a moment ago is asked while nobody waits.
            Some((until, why)) if why.reason == AWAY && now < *until + AWHILE => match usable {
                Some(lines) if now < lines.stale => Known::Good { lines, old: now >= *until },
                _ if now < *until => Known::Denied(why.clone()),
                _ => Known::Nothing,
            },
            Some((until, why)) if now < *until => Known::Denied(why.clone()),
            _ => Known::Nothing,
        }
    }

    /// What may be used although it is no longer good, while control does not answer.
    pub(super) fn stale(&self, key: &Key, oldest: i64, failed: Option<&Lines>) -> Option<Arc<Lines>> {
        let shard = self.shard(key);
        let lines = shard.get(key)?.may_use(oldest, failed)?;
        (Instant::now() < lines.stale.max(lines.good)).then(|| lines.clone())
    }

    /// Lines that may be used now, without counting as a use.
    pub(super) fn peek(&self, key: &Key) -> Option<Arc<Lines>> {
        let shard = self.shard(key);
        let lines = shard.get(key)?.lines.as_ref()?;
        (Instant::now() < lines.good).then(|| lines.clone())
    }

    /// What whoever wants to ask must hold.
    pub(super) fn asking(&self, key: &Key) -> Arc<tokio::sync::Mutex<()>> {
        let asking = self.entry(key, |entry| entry.asking.clone());
        self.make_room(key.tenant);
        asking
    }

    /// Whether the last question failed a moment ago.
    pub(super) fn is_denied(&self, key: &Key) -> bool {
        let now = Instant::now();
        self.shard(key).get(key).is_some_and(|entry| entry.denied.as_ref().is_some_and(|(until, _)| now < *until))
    }

    /// Puts new lines in place, unless newer ones came meanwhile.
    pub(super) fn put(&self, key: &Key, lines: &Arc<Lines>) {
        self.entry(key, |entry| {
            entry.denied = None;
            if entry.refused.as_ref().is_some_and(|refused| refused.generation < lines.token_generation) {
                entry.refused = None;
            }
            // What is not good any more keeps nothing out: another control may count otherwise.
            let older =
                |held: &Arc<Lines>| held.token_generation <= lines.token_generation || held.good <= Instant::now();
            if entry.lines.as_ref().is_none_or(older) {
                entry.lines = Some(lines.clone());
            }
        });
        self.make_room(key.tenant);
    }

    /// There are none for a moment. `final_word`: those that are held may not be used any more.
    pub(super) fn deny(&self, key: &Key, why: &Arc<NoCredential>, final_word: bool) {
        let until = Instant::now() + DENIED;
        self.entry(key, |entry| {
            entry.denied = Some((until, why.clone()));
            if final_word {
                entry.lines = None;
            }
        });
        self.make_room(key.tenant);
    }

    /// The upstream refused these, and what it was shown instead.
    pub(super) fn refuse(&self, key: &Key, lines: &Lines, why: &Arc<NoCredential>) {
        lines.was_refused();
        let until = Instant::now() + REFUSED;
        let refused = Refused { generation: lines.token_generation, until, is_tried: false, why: why.clone() };
        self.entry(key, |entry| {
            // What is said late of an older token says nothing of the one that came meanwhile.
            if !entry.lines.as_ref().is_some_and(|held| held.differ_from(lines)) {
                entry.refused = Some(refused);
            }
        });
    }

    /// The upstream has taken these.
    pub(super) fn accept(&self, key: &Key) {
        if let Some(entry) = self.shard(key).get_mut(key) {
            entry.refused = None;
        }
    }

    /// Drops what was held for a connection, but for what `stays`.
    pub(super) fn retain_of(&self, connection: ConnectionId, stays: impl Fn(&Key, Option<&Lines>) -> bool) {
        let shard = self.lock(self.at_connection(connection));
        self.retain_in(shard, |key, lines| key.part.connection != Some(connection) || stays(key, lines));
    }

    /// Drops all but what `stays`.
    pub(super) fn retain(&self, stays: impl Fn(&Key, Option<&Lines>) -> bool) {
        for at in 0..SHARDS {
            self.retain_in(self.lock(at), &stays);
        }
    }

    /// Drops what is held under this key.
    pub(super) fn remove(&self, key: &Key) {
        let mut shard = self.shard(key);
        if let Some(entry) = shard.remove(key) {
            self.count(key.tenant, Some(entry.size()), None);
        }
    }

    /// Lets go of lines that nobody may use any more, and of what says nothing any more.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        for at in 0..SHARDS {
            self.lock(at).retain(|key, entry| {
                let before = entry.size();
                if entry.lines.as_ref().is_some_and(|lines| now >= lines.good.max(lines.stale)) {
                    entry.lines = None;
                }
                let says = entry.lines.is_some()
                    || entry.denied.as_ref().is_some_and(|(until, _)| now < *until)
                    || entry.refused.as_ref().is_some_and(|refused| now < refused.until)
                    || Arc::strong_count(&entry.asking) > 1;
                let after = says.then(|| entry.size());
                self.count(key.tenant, Some(before), after);
                says
            });
        }
    }

    /// How many entries there are, and how many bytes they take.
    pub(super) fn fill(&self) -> [u64; 2] {
        [&self.entries, &self.bytes].map(|fill| fill.load(Ordering::Relaxed) as u64)
    }

    fn entry<T>(&self, key: &Key, change: impl FnOnce(&mut Entry) -> T) -> T {
        let used = self.clock.fetch_add(1, Ordering::Relaxed);
        let mut shard = self.shard(key);
        let before = shard.get(key).map(Entry::size);
        let entry = shard.entry(key.clone()).or_insert_with(|| Entry {
            lines: None,
            denied: None,
            refused: None,
            asking: Arc::default(),
            used,
        });
        entry.used = used;
        let changed = change(entry);
        let after = entry.size();
        // Under the shard's lock, so that no removal is counted before.
        self.count(key.tenant, before, Some(after));
        changed
    }

    fn retain_in(&self, mut shard: MutexGuard<'_, HashMap<Key, Entry>>, stays: impl Fn(&Key, Option<&Lines>) -> bool) {
        shard.retain(|key, entry| {
            let stays = stays(key, entry.lines.as_deref());
            if !stays {
                self.count(key.tenant, Some(entry.size()), None);
            }
            stays
        });
    }

    fn count(&self, tenant: TenantId, before: Option<usize>, after: Option<usize>) {
        let (one_less, one_more) = (usize::from(before.is_some()), usize::from(after.is_some()));
        let (less, more) = (before.unwrap_or_default(), after.unwrap_or_default());
        if (one_less, less) == (one_more, more) {
            return;
        }
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = tenants.entry(tenant).or_default();
        filled.entries = (filled.entries + one_more).saturating_sub(one_less);
        filled.bytes = (filled.bytes + more).saturating_sub(less);
        if filled.entries == 0 {
            tenants.remove(&tenant);
        }
        // Under the lock, so that neither is ever counted below what it is.
        self.entries.fetch_add(one_more, Ordering::Relaxed);
        self.entries.fetch_sub(one_less, Ordering::Relaxed);
        self.bytes.fetch_add(more, Ordering::Relaxed);
        self.bytes.fetch_sub(less, Ordering::Relaxed);
    }

    /// Lets go of what was not used for longest, of this tenant or of all, if there is too much.
    fn make_room(&self, tenant: TenantId) {
        let filled = {
            let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
            tenants.get(&tenant).copied().unwrap_or_default()
        };
        if filled.entries > ENTRIES / SHARE || filled.bytes > BYTES / SHARE {
            self.shed(|key| key.tenant == tenant);
        } else if self.entries.load(Ordering::Relaxed) > ENTRIES || self.bytes.load(Ordering::Relaxed) > BYTES {
            self.shed(|_| true);
        }
    }

    fn shed(&self, of: impl Fn(&Key) -> bool) {
        let mut uses: Vec<u64> = Vec::new();
        for at in 0..SHARDS {
            uses.extend(self.lock(at).iter().filter(|(key, _)| of(key)).map(|(_, entry)| entry.used));
        }
        uses.sort_unstable();
        let Some(newest_to_go) = uses.get(uses.len() / AT_ONCE).copied() else { return };
        for at in 0..SHARDS {
            let mut shard = self.lock(at);
            shard.retain(|key, entry| {
                let goes = of(key) && entry.used <= newest_to_go;
                if goes {
                    self.count(key.tenant, Some(entry.size()), None);
                }
                !goes
            });
        }
    }

    /// All that is held for one connection is in one shard.
    fn at_connection(&self, connection: ConnectionId) -> usize {
        self.hasher.hash_one(connection) as usize % SHARDS
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, Entry>> {
        let at = match key.part.connection {
            Some(connection) => self.at_connection(connection),
            None => self.hasher.hash_one(key) as usize % SHARDS,
        };
        self.lock(at)
    }

    fn lock(&self, at: usize) -> MutexGuard<'_, HashMap<Key, Entry>> {
        // Never out of range; the first shard stands in so that this needs no panic.
        let shard = self.shards.get(at).unwrap_or_else(|| &self.shards[0]);
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// The lines, if no token older than `oldest` will do nor the one that `failed`.
    fn may_use(&self, oldest: i64, failed: Option<&Lines>) -> Option<&Arc<Lines>> {
        let lines = self.lines.as_ref()?;
        let other = failed.is_none_or(|failed| lines.differ_from(failed));
        (lines.token_generation >= oldest && other).then_some(lines)
    }

    fn size(&self) -> usize {
        APIECE + self.lines.as_ref().map_or(0, |lines| lines.size())
    }
}

#[cfg(test)]
impl Key {
    /// Of some server.
    pub(super) fn for_test(part: Part) -> Self {
        let id = uuid::Uuid::from_u128;
        Self { tenant: TenantId(id(1)), server: ServerId(id(2)), generation: Generation(1), part, token: None }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn part(connection: u128) -> Part {
        Part::of(Some(ConnectionId(Uuid::from_u128(connection))), 1, [0; 16])
    }

    fn key(tenant: u128, connection: u128) -> Key {
        Key { tenant: TenantId(Uuid::from_u128(tenant)), ..Key::for_test(part(connection)) }
    }

    fn lines(connection: u128, generation: i64) -> Arc<Lines> {
        Arc::new(Lines::for_test(part(connection), generation, "Bearer x"))
    }

    fn generation(known: &Known) -> Option<(i64, bool)> {
        match known {
            Known::Good { lines, old } => Some((lines.token_generation, *old)),
            Known::Denied(_) | Known::Nothing => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn r50_no_older_token_is_used_than_the_table_names_nor_one_that_failed() {
        let (cache, key) = (Cache::default(), key(1, 1));
        cache.put(&key, &lines(1, 5));
        for (oldest, failed, found) in [
            (5, None, true),
            (4, None, true),
            (6, None, false),
            (5, Some(4), true),
            (5, Some(5), false),
            (5, Some(6), false),
        ] {
            let failed = failed.map(|generation| lines(1, generation));
            let known = cache.known(&key, oldest, failed.as_deref());
            assert_eq!(generation(&known).is_some(), found, "{oldest}");
            assert_eq!(cache.stale(&key, oldest, failed.as_deref()).is_some(), found, "{oldest}");
        }
        // What comes late must not take the place of what is newer.
        cache.put(&key, &lines(1, 4));
        assert_eq!(generation(&cache.known(&key, 0, None)), Some((5, false)));
    }

    #[tokio::test(start_paused = true)]
    async fn lines_age_from_fresh_to_old_to_stale() {
        let (cache, key) = (Cache::default(), key(1, 1));
        cache.put(&key, &lines(1, 5));
        for (seconds, known, stale) in [
            (59, Some((5, false)), true),
            (1, Some((5, true)), true),
            (839, Some((5, true)), true),
            (1, None, true),
            (2700, None, false),
        ] {
            tokio::time::advance(Duration::from_secs(seconds)).await;
            assert_eq!(generation(&cache.known(&key, 0, None)), known);
            assert_eq!(cache.stale(&key, 0, None).is_some(), stale);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_refused_twice_is_tried_by_one_after_a_minute() {
        let (cache, key) = (Cache::default(), key(1, 1));
        let held = lines(1, 5);
        let why = Arc::new(NoCredential::for_test("reauth_required"));
        cache.put(&key, &held);
        cache.refuse(&key, &held, &why);
        assert!(matches!(cache.known(&key, 5, None), Known::Denied(_)));
        tokio::time::advance(REFUSED).await;
        // Its own life went on meanwhile.
        assert_eq!(generation(&cache.known(&key, 5, None)), Some((5, true)), "the trial");
        assert!(matches!(cache.known(&key, 5, None), Known::Denied(_)), "all others wait");
        cache.accept(&key);
        assert!(generation(&cache.known(&key, 5, None)).is_some());
        cache.refuse(&key, &held, &why);
        cache.put(&key, &lines(1, 6));
        assert_eq!(generation(&cache.known(&key, 6, None)), Some((6, false)), "another token is another matter");
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_refusal_of_an_older_token_does_not_stop_the_newer_one() {
        let (cache, key) = (Cache::default(), key(1, 1));
        let older = lines(1, 5);
        cache.put(&key, &older);
        cache.put(&key, &lines(1, 6));
        cache.refuse(&key, &older, &Arc::new(NoCredential::for_test("reauth_required")));
        assert_eq!(generation(&cache.known(&key, 5, None)), Some((6, false)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_good_any_more_keeps_no_lower_number_out() {
        let (cache, key) = (Cache::default(), key(1, 1));
        cache.put(&key, &lines(1, 9));
        tokio::time::advance(Duration::from_secs(900)).await;
        cache.put(&key, &lines(1, 2));
        assert_eq!(generation(&cache.known(&key, 0, None)), Some((2, false)));
    }

    #[tokio::test(start_paused = true)]
    async fn while_control_is_away_nobody_waits_for_it_twice() {
        let (cache, key) = (Cache::default(), key(1, 1));
        cache.put(&key, &lines(1, 5));
        tokio::time::advance(Duration::from_secs(900)).await;
        assert!(matches!(cache.known(&key, 0, None), Known::Nothing), "the first one asks");
        let away = Arc::new(NoCredential::unavailable(AWAY, "notes", "a test", Some(DENIED)));
        cache.deny(&key, &away, false);
        assert_eq!(generation(&cache.known(&key, 0, None)), Some((5, false)));
        tokio::time::advance(DENIED).await;
        assert_eq!(generation(&cache.known(&key, 0, None)), Some((5, true)), "asked for in the background");
        tokio::time::advance(AWHILE).await;
        assert!(matches!(cache.known(&key, 0, None), Known::Nothing));
    }

    #[tokio::test(start_paused = true)]
    async fn lines_that_nobody_may_use_any_more_are_wiped() {
        let (cache, key) = (Cache::default(), key(1, 1));
        let held = lines(1, 5);
        let gone = Arc::downgrade(&held);
        cache.put(&key, &held);
        drop(held);
        tokio::time::advance(Duration::from_secs(3599)).await;
        cache.sweep();
        assert!(gone.upgrade().is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        cache.sweep();
        assert!(gone.upgrade().is_none());
        assert_eq!(cache.fill(), [0, 0]);
    }

    #[tokio::test]
    async fn no_tenant_takes_the_place_of_the_others() {
        let cache = Cache::default();
        cache.put(&key(2, 1_000_000), &lines(1_000_000, 1));
        for connection in 0..(ENTRIES / SHARE + 100) as u128 {
            cache.put(&key(1, connection), &lines(connection, 1));
        }
        let [entries, bytes] = cache.fill();
        assert!(entries as usize <= ENTRIES / SHARE + 1 && bytes as usize <= BYTES / SHARE + 2 * APIECE + 4096);
        assert!(cache.peek(&key(2, 1_000_000)).is_some(), "another tenant's");
        assert!(cache.peek(&key(1, (ENTRIES / SHARE + 99) as u128)).is_some(), "the newest");
        assert!(cache.peek(&key(1, 0)).is_none(), "the oldest");
        cache.retain(|_, _| false);
        assert_eq!(cache.fill(), [0, 0]);
    }

    #[tokio::test]
    async fn what_goes_with_its_connection_is_wiped_at_once() {
        let cache = Cache::default();
        let held = lines(1, 5);
        let gone = Arc::downgrade(&held);
        cache.put(&key(1, 1), &held);
        cache.put(&key(1, 2), &lines(2, 5));
        drop(held);
        cache.retain_of(ConnectionId(Uuid::from_u128(1)), |_, _| false);
        assert!(gone.upgrade().is_none());
        assert!(cache.peek(&key(1, 1)).is_none() && cache.peek(&key(1, 2)).is_some());
    }
}
