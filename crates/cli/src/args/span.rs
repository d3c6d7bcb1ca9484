//! Times as they are typed: `90d` for a span, `2026-01-31T12:00:00Z` or `2026-01-31` for an instant.

use std::str::FromStr;

use time::format_description::well_known::Rfc3339;
use time::{Date, Duration, OffsetDateTime, UtcOffset};

/// Seconds of each unit that a span may end with.
const UNITS: [(char, i64); 5] = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 7 * 86_400)];

/// A span of whole seconds, more than none: `30s`, `15m`, `12h`, `90d`, `2w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(Duration);

impl Span {
    /// Its length in seconds.
    pub(crate) fn seconds(self) -> i64 {
        self.0.whole_seconds()
    }

    /// The instant this far after `now`, as REST reads it.
    pub(crate) fn after(self, now: OffsetDateTime) -> Option<String> {
        now.checked_add(self.0)?.to_offset(UtcOffset::UTC).replace_nanosecond(0).ok()?.format(&Rfc3339).ok()
    }
}

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "expected a number and a unit: 30s, 15m, 12h, 90d or 2w";
        let (number, unit) = text.char_indices().last().map(|(at, unit)| (text.get(..at), unit)).ok_or(WRONG)?;
        let (_, seconds) = UNITS.into_iter().find(|(word, _)| *word == unit).ok_or(WRONG)?;
        let number: u32 = number.unwrap_or_default().parse().map_err(|_| WRONG)?;
        match i64::from(number).checked_mul(seconds) {
            Some(seconds) if seconds > 0 => Ok(Self(Duration::seconds(seconds))),
            _ => Err(WRONG),
        }
    }
}

/// An instant as it is typed: a span means so long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instant {
    Ago(Span),
    At(OffsetDateTime),
}

impl Instant {
    /// As REST reads it.
    pub(crate) fn told(self, now: OffsetDateTime) -> Option<String> {
        let at = match self {
            Self::Ago(Span(span)) => now.checked_sub(span)?,
            Self::At(at) => at,
        };
        at.to_offset(UtcOffset::UTC).format(&Rfc3339).ok()
    }
}

impl FromStr for Instant {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(span) = text.parse() {
            return Ok(Self::Ago(span));
        }
        let day = || Date::parse(text, time::macros::format_description!("[year]-[month]-[day]"));
        match OffsetDateTime::parse(text, &Rfc3339) {
            Ok(at) => Ok(Self::At(at)),
            Err(_) => match day() {
                Ok(day) => Ok(Self::At(day.midnight().assume_utc())),
                Err(_) => Err("expected 2026-01-31T12:00:00Z, 2026-01-31, or a span like 24h for so long ago"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        for (text, seconds) in [
            ("30s", Some(30)),
            ("15m", Some(900)),
            ("12h", Some(43_200)),
            ("90d", Some(7_776_000)),
            ("2w", Some(1_209_600)),
            ("0d", None),
            ("90", None),
            ("d", None),
            ("", None),
            ("-1d", None),
            ("1y", None),
            ("1é", None),
        ] {
            assert_eq!(text.parse::<Span>().ok().map(Span::seconds), seconds, "{text}");
        }
    }

    #[test]
    fn an_instant_is_a_date_or_so_long_ago() {
        let now = OffsetDateTime::parse("2026-06-02T00:00:00Z", &Rfc3339).unwrap();
        for (text, told) in [
            ("24h", Some("2026-06-01T00:00:00Z")),
            ("2026-01-31", Some("2026-01-31T00:00:00Z")),
            ("2026-01-31T12:00:00+01:00", Some("2026-01-31T11:00:00Z")),
            ("yesterday", None),
            ("2026-02-30", None),
        ] {
            assert_eq!(text.parse::<Instant>().ok().and_then(|at| at.told(now)).as_deref(), told, "{text}");
        }
        let ends = "90d".parse::<Span>().unwrap().after(now + Duration::nanoseconds(5));
        assert_eq!(ends.as_deref(), Some("2026-08-31T00:00:00Z"));
    }
}
