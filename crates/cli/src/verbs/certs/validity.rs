//! Reads from when to when a certificate holds: the few bytes of X.509 that this takes, and no more.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

/// From when to when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: OffsetDateTime,
    pub(super) not_after: OffsetDateTime,
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// The version, absent in the first one.
const VERSION: u8 = 0xa0;

impl Validity {
    /// Of the first certificate in a PEM text.
    pub(super) fn of_pem(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
        let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
        let body: String = body.split_ascii_whitespace().collect();
        Self::of_der(&STANDARD.decode(body).ok()?)
    }

    /// Certificate { TBSCertificate { [version], serial, algorithm, issuer, validity { from, to }, … } … }
    fn of_der(der: &[u8]) -> Option<Self> {
        let (certificate, _) = take(der, SEQUENCE)?;
        let (signed, _) = take(certificate, SEQUENCE)?;
        let after_version = take(signed, VERSION).map_or(signed, |(_, rest)| rest);
        let (_, after_serial) = take(after_version, INTEGER)?;
        let (_, after_algorithm) = take(after_serial, SEQUENCE)?;
        let (_, after_issuer) = take(after_algorithm, SEQUENCE)?;
        let (validity, _) = take(after_issuer, SEQUENCE)?;
        let (not_before, rest) = take_time(validity)?;
        let (not_after, _) = take_time(rest)?;
        Some(Self { not_before, not_after })
    }
}

/// The content of the element that begins here, if it is of this kind, and what follows it.
fn take(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // At most two bytes of length: no certificate is longer than 64 KiB.
        0x81 | 0x82 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, digit| (length << 8) | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

fn take_time(bytes: &[u8]) -> Option<(OffsetDateTime, &[u8])> {
    if let Some((text, rest)) = take(bytes, UTC_TIME) {
        let (year, text) = number(text, 2)?;
        // RFC 5280: two digits mean 1950 to 2049.
        let century = if year < 50 { 2000 } else { 1900 };
        return Some((instant(century + year, text)?, rest));
    }
    let (text, rest) = take(bytes, GENERALIZED_TIME)?;
    let (year, text) = number(text, 4)?;
    Some((instant(year, text)?, rest))
}

/// `MMDDHHMMSSZ`
fn instant(year: i32, text: &[u8]) -> Option<OffsetDateTime> {
    let (month, text) = number(text, 2)?;
    let (day, text) = number(text, 2)?;
    let (hour, text) = number(text, 2)?;
    let (minute, text) = number(text, 2)?;
    let (second, text) = number(text, 2)?;
    if text != b"Z" {
        return None;
    }
    let small = |number: i32| u8::try_from(number).ok();
    let date = Date::from_calendar_date(year, Month::try_from(small(month)?).ok()?, small(day)?).ok()?;
    let time = Time::from_hms(small(hour)?, small(minute)?, small(second)?).ok()?;
    Some(PrimitiveDateTime::new(date, time).assume_utc())
}

fn number(text: &[u8], digits: usize) -> Option<(i32, &[u8])> {
    let (number, rest) = text.split_at_checked(digits)?;
    if !number.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some((std::str::from_utf8(number).ok()?.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82][..], &length, content].concat()
    }

    fn certificate(version: bool, not_before: &[u8], not_after: &[u8]) -> Vec<u8> {
        let validity = element(SEQUENCE, &[not_before, not_after].concat());
        let version = if version { element(VERSION, &element(INTEGER, &[2])) } else { Vec::new() };
        let signed =
            [version, element(INTEGER, &[1]), element(SEQUENCE, &[]), element(SEQUENCE, &[9; 300]), validity].concat();
        element(SEQUENCE, &element(SEQUENCE, &signed))
    }

    #[test]
    fn both_spellings_of_time_are_read() {
        let der =
            certificate(true, &element(UTC_TIME, b"491231235959Z"), &element(GENERALIZED_TIME, b"40960101000000Z"));
        let expected =
            Validity { not_before: datetime!(2049-12-31 23:59:59 UTC), not_after: datetime!(4096-01-01 00:00:00 UTC) };
        assert_eq!(Validity::of_der(&der), Some(expected));
    }

    #[test]
    fn the_first_version_has_no_version() {
        let der = certificate(false, &element(UTC_TIME, b"500101000000Z"), &element(UTC_TIME, b"000101000000Z"));
        let read = Validity::of_der(&der).unwrap();
        assert_eq!((read.not_before.year(), read.not_after.year()), (1950, 2000));
    }

    #[test]
    fn pem_around_it_is_taken_off() {
        let der = certificate(true, &element(UTC_TIME, b"260101000000Z"), &element(UTC_TIME, b"270101000000Z"));
        let base64 = STANDARD.encode(&der);
        let (first, second) = base64.split_at(64);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{first}\n{second}\n-----END CERTIFICATE-----\n");
        assert_eq!(Validity::of_pem(&pem), Validity::of_der(&der));
        assert_eq!(Validity::of_pem("no certificate"), None);
    }

    #[test]
    fn impossible_times_are_no_times() {
        for time in [&b"261301000000Z"[..], b"260101000000", b"26010100000xZ", b"260230000000Z", b""] {
            let der = certificate(true, &element(UTC_TIME, time), &element(UTC_TIME, b"270101000000Z"));
            assert_eq!(Validity::of_der(&der), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Validity::of_der(&bytes);
        }
    }
}
