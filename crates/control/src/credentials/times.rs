//! When a token must be replaced, and for how long proxies may use what is made of it.

use std::time::Duration;

use wire::HeaderLines;

use crate::auth::Token;

const MICROS: i64 = 1_000_000;
/// How far ahead of its end a token is replaced at least, where another can be had: calls take a while, and clocks differ.
const MARGIN: i64 = 30 * MICROS;
/// For how long proxies use header lines without asking again, with control there, and without it.
const FRESH: Duration = Duration::from_secs(60);
const GOOD: Duration = Duration::from_secs(15 * 60);
const STALE: Duration = Duration::from_secs(4 * 3600);
/// Between two questions while a new token is on its way.
const SOON: Duration = Duration::from_secs(1);

/// What is to be done about a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It serves.
    Serve,
    /// It serves, and the next one is fetched meanwhile.
    ServeAndRenew,
    /// The next one must be waited for; if it can't be had now, this one still serves where `spare` says so.
    Renew {
        /// It has not ended, and nobody has refused it.
        spare: bool,
    },
    /// It has ended or was refused, and there is no way to another.
    Over,
}

/// What is known of a token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation<'a> {
    /// The token; `None` if there is none yet.
    pub(super) token: Option<&'a Token>,
    /// Another one can be had.
    pub(super) renewable: bool,
    /// The settings' seconds.
    pub(super) pre_refresh: u32,
    /// An upstream refused it.
    pub(super) refused: bool,
    /// Microseconds since 1970.
    pub(super) now: i64,
}

impl Situation<'_> {
    /// What to do.
    pub(super) fn step(self) -> Step {
        let Self { token, renewable, pre_refresh, refused, now } = self;
        let Some(token) = token else { return if renewable { Step::Renew { spare: false } } else { Step::Over } };
        let ended = token.expires_at.is_some_and(|end| end <= now);
        match (renewable, refused || ended) {
            (false, true) => Step::Over,
            (false, false) => Step::Serve,
            (true, true) => Step::Renew { spare: false },
            (true, false) if !token.is_expiring(now, ahead(pre_refresh), true) => Step::Serve,
            // While it is long enough for a call, nobody waits.
            (true, false) if token.expires_at.is_some_and(|end| end - now > margin(token)) => Step::ServeAndRenew,
            (true, false) => Step::Renew { spare: true },
        }
    }

    /// From now on: when to ask again, until when to use it with control there, and without.
    pub(super) fn lifetimes(self) -> (Duration, Duration, Duration) {
        let Some((token, end)) = self.token.and_then(|token| Some((token, token.expires_at?))) else {
            return (FRESH, GOOD, STALE);
        };
        let left = end.saturating_sub(self.now);
        let spared = if self.renewable { margin(token).min(left / 2) } else { 0 };
        let usable = duration(left - spared);
        let life = end.saturating_sub(token.obtained_at).max(0);
        let due = end - (i64::from(ahead(self.pre_refresh)) * MICROS).min(life / 2);
        let fresh = if self.renewable { duration(due - self.now).max(SOON) } else { FRESH };
        (FRESH.min(fresh).min(usable), GOOD.min(usable), STALE.min(usable))
    }
}

/// Bounds for how long header lines are used while control is away. Where that is shorter than they are good, control is
/// asked again as soon as they are not fresh: only an answer tells a proxy that it is there.
pub(super) fn bound_staleness(lines: &mut HeaderLines, most: Duration) {
    lines.good = lines.good.min(most.max(lines.fresh));
    lines.stale = lines.stale.min(most);
}

fn ahead(pre_refresh: u32) -> u32 {
    pre_refresh.max(u32::try_from(MARGIN / MICROS).unwrap_or(0))
}

/// What is not used of a token's life, if another one can be had: of short lives a tenth.
fn margin(token: &Token) -> i64 {
    let life = token.expires_at.unwrap_or(i64::MAX).saturating_sub(token.obtained_at).max(0);
    MARGIN.min(life / 10)
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::ResponseMap;

    fn token(expires_in: Option<i64>) -> Token {
        let answer = match expires_in {
            Some(seconds) => format!(r#"{{"access_token":"a","expires_in":{seconds}}}"#),
            None => r#"{"access_token":"a"}"#.to_owned(),
        };
        Token::from_response(answer.as_bytes(), &ResponseMap::default(), 0, None).unwrap()
    }

    fn situation(token: &Token, renewable: bool, pre_refresh: u32, now: i64) -> Situation<'_> {
        Situation { token: Some(token), renewable, pre_refresh, refused: false, now: now * MICROS }
    }

    #[test]
    fn r48_a_token_is_replaced_ahead_of_its_end_but_never_before_half_its_life_and_without_a_way_to_another_at_its_end()
    {
        for (life, pre, renewable, at, step) in [
            (3_600, 300, true, 3_299, Step::Serve),
            (3_600, 300, true, 3_300, Step::ServeAndRenew),
            (3_600, 300, true, 3_569, Step::ServeAndRenew),
            (3_600, 300, true, 3_570, Step::Renew { spare: true }),
            (3_600, 300, true, 3_600, Step::Renew { spare: false }),
            // No more than half of a life that is shorter than the setting.
            (60, 300, true, 29, Step::Serve),
            (60, 300, true, 30, Step::ServeAndRenew),
            (60, 300, true, 54, Step::Renew { spare: true }),
            // At least half a minute ahead, whatever the setting.
            (3_600, 0, true, 3_569, Step::Serve),
            (3_600, 0, true, 3_570, Step::Renew { spare: true }),
            // To its true end.
            (3_600, 300, false, 3_599, Step::Serve),
            (3_600, 300, false, 3_600, Step::Over),
        ] {
            let token = token(Some(life));
            assert_eq!(situation(&token, renewable, pre, at).step(), step, "{life} {pre} {renewable} {at}");
        }
    }

    #[test]
    fn r47_a_token_without_an_end_serves_until_it_is_refused() {
        let token = token(None);
        for renewable in [true, false] {
            assert_eq!(situation(&token, renewable, 300, 1_000_000).step(), Step::Serve);
            let refused = Situation { refused: true, ..situation(&token, renewable, 300, 0) };
            assert_eq!(refused.step(), if renewable { Step::Renew { spare: false } } else { Step::Over });
        }
        let none = Situation { token: None, ..situation(&token, true, 0, 0) };
        assert_eq!(none.step(), Step::Renew { spare: false });
        assert_eq!(none.lifetimes(), (FRESH, GOOD, STALE));
    }

    #[test]
    fn without_control_header_lines_are_used_no_longer_than_their_tenant_allows() {
        for (most, good, stale) in [(86_400, 900, 14_400), (3_600, 900, 3_600), (300, 300, 300), (0, 60, 0)] {
            let mut lines = HeaderLines {
                credential_version: 1,
                token_generation: 1,
                headers: vec![],
                query: vec![],
                certificate: None,
                fresh: FRESH,
                good: GOOD,
                stale: STALE,
            };
            bound_staleness(&mut lines, Duration::from_secs(most));
            assert_eq!((lines.fresh, lines.good.as_secs(), lines.stale.as_secs()), (FRESH, good, stale), "{most}");
        }
    }

    #[test]
    fn header_lines_are_used_no_longer_than_their_token() {
        let seconds =
            |(fresh, good, stale): (Duration, Duration, Duration)| (fresh.as_secs(), good.as_secs(), stale.as_secs());
        let hour = token(Some(3_600));
        assert_eq!(seconds(situation(&hour, true, 300, 0).lifetimes()), (60, 900, 3_570));
        assert_eq!(seconds(situation(&hour, true, 300, 3_280).lifetimes()), (20, 290, 290));
        assert_eq!(seconds(situation(&hour, true, 300, 3_400).lifetimes()), (1, 170, 170), "a new one is on its way");
        assert_eq!(seconds(situation(&hour, false, 300, 3_595).lifetimes()), (5, 5, 5), "to its true end");
        let short = token(Some(10));
        assert_eq!(seconds(situation(&short, true, 0, 0).lifetimes()), (5, 9, 9));
    }
}
