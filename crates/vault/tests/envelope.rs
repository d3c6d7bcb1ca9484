//! Envelopes: they open where they were sealed, and nowhere else, and not when one bit differs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test a panic is the answer"
)]

use model::TenantId;
use proptest::prelude::*;
use uuid::Uuid;
use vault::{Coordinates, DataKey, KeyOf, MAX_SECRET, OVERHEAD, PLATFORM, VaultError};

const TENANT: TenantId = TenantId(Uuid::from_u128(7));
const AT: Coordinates<'static> =
    Coordinates { tenant: TENANT, kind: "connection", record: Uuid::from_u128(9), field: "token", secret_version: 3 };

fn key() -> DataKey {
    key_of(TENANT)
}

fn key_of(tenant: TenantId) -> DataKey {
    DataKey::generate(KeyOf { tenant, id: 1 }).unwrap()
}

#[test]
fn an_envelope_has_the_documented_layout() {
    let key = key();
    let sealed = key.seal(&AT, &[5; 100]).unwrap();
    assert_eq!(OVERHEAD, 100);
    assert_eq!(sealed.len(), OVERHEAD + 128);
    assert_eq!(sealed[..8], *b"GH\x02\x01\0\0\0\x01");
    assert_eq!(key.id(), 1);
}

#[test]
fn lengths_are_hidden_in_buckets_of_64() {
    let key = key();
    let len = |plain: usize| key.seal(&AT, &vec![1; plain]).unwrap().len();
    assert_eq!(len(0), len(63));
    assert_eq!(len(64), len(127));
    assert!(len(63) < len(64));
}

#[test]
fn no_bit_of_an_envelope_can_be_flipped() {
    let key = key();
    for plain in [&b""[..], b"short", &[0; 64], &[0x80; 200]] {
        let sealed = key.seal(&AT, plain).unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let refused = key.open(&AT, &flipped).unwrap_err();
            let fits = match bit / 8 {
                0..2 => matches!(refused, VaultError::NotAnEnvelope),
                2..4 => matches!(refused, VaultError::UnsupportedEnvelope { .. }),
                4..8 => matches!(refused, VaultError::OtherDataKey { expected: 1, .. }),
                8..72 => matches!(refused, VaultError::CommitMismatch),
                _ => matches!(refused, VaultError::Altered),
            };
            assert!(fits, "bit {bit}: {refused:?}");
        }
    }
}

/// Of lengths on both sides of each bucket's edge, and coordinates of every kind.
#[test]
fn two_hundred_envelopes_refuse_every_single_bit_that_is_flipped() {
    let kinds = ["connection", "server", "upstream_client", "issuer", "fleet"];
    for number in 0..200_usize {
        let key = DataKey::generate(KeyOf { tenant: TENANT, id: u32::try_from(number).unwrap() }).unwrap();
        let at = Coordinates {
            kind: kinds[number % kinds.len()],
            record: Uuid::from_u128(number as u128),
            secret_version: number as u64,
            ..AT
        };
        let plain: Vec<u8> = (0..number * 2).map(|byte| (byte * 31 + number) as u8).collect();
        let mut sealed = key.seal(&at, &plain).unwrap();
        for bit in 0..sealed.len() * 8 {
            sealed[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open(&at, &sealed).is_err(), "envelope {number}, bit {bit}");
            sealed[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(key.open(&at, &sealed).unwrap().as_slice(), plain);
    }
}

#[test]
fn another_version_or_suite_is_unsupported_and_never_read_as_something_older() {
    let key = key();
    let sealed = key.seal(&AT, b"secret").unwrap();
    for (version, suite) in [(0, 1), (1, 1), (3, 1), (255, 1), (2, 0), (2, 2), (1, 0)] {
        let mut other = sealed.clone();
        (other[2], other[3]) = (version, suite);
        let refused = key.open(&AT, &other).unwrap_err();
        assert!(
            matches!(refused, VaultError::UnsupportedEnvelope { version: v, suite: s } if (v, s) == (version, suite)),
            "{refused:?}"
        );
    }
    for older in [&b"ghp_example"[..], b"{\"v\":1,\"kid\":\"local\"}", b"enc:v1:AAECAwQFBgcICQoLSo3LI7xgs8HYsBT6", b""]
    {
        assert!(matches!(key.open(&AT, older), Err(VaultError::NotAnEnvelope)));
    }
}

#[test]
fn no_envelope_can_be_cut_or_extended() {
    let key = key();
    let sealed = key.seal(&AT, &[1; 130]).unwrap();
    for len in 0..sealed.len() {
        assert!(key.open(&AT, &sealed[..len]).is_err(), "cut to {len}");
    }
    for extra in [1, 16, 64, 20_000] {
        let longer = [sealed.as_slice(), &vec![0; extra]].concat();
        assert!(key.open(&AT, &longer).is_err(), "{extra} more");
    }
}

#[test]
fn two_seals_of_one_plaintext_share_nothing_but_the_header() {
    let key = key();
    let (one, two) = (key.seal(&AT, b"same").unwrap(), key.seal(&AT, b"same").unwrap());
    assert_eq!(one[..8], two[..8]);
    for range in [8..40, 40..72, 72..84, 84..100, one.len() - 16..one.len()] {
        assert_ne!(one[range.clone()], two[range.clone()], "{range:?}");
    }
}

#[test]
fn another_key_sees_that_it_is_another_key() {
    let (mine, other) = (key(), key());
    let sealed = mine.seal(&AT, b"secret").unwrap();
    assert!(matches!(other.open(&AT, &sealed), Err(VaultError::CommitMismatch)));
}

#[test]
fn a_data_key_works_for_its_own_tenant_only() {
    let key = key_of(PLATFORM);
    assert!(matches!(key.seal(&AT, b"x"), Err(VaultError::WrongTenant { tenant: TENANT })));
    let at = Coordinates { tenant: PLATFORM, ..AT };
    let sealed = key.seal(&at, b"x").unwrap();
    assert!(matches!(key.open(&AT, &sealed), Err(VaultError::WrongTenant { .. })));
    assert_eq!(key.open(&at, &sealed).unwrap().as_slice(), b"x");
}

#[test]
fn sixteen_kibibytes_are_the_most() {
    let key = key();
    let most = vec![3; MAX_SECRET];
    assert_eq!(key.open(&AT, &key.seal(&AT, &most).unwrap()).unwrap().as_slice(), most);
    assert!(matches!(key.seal(&AT, &[3; MAX_SECRET + 1]), Err(VaultError::TooLong)));
}

#[test]
fn nothing_of_a_key_is_printed() {
    assert_eq!(format!("{:?}", key_of(PLATFORM)), format!("DataKey({PLATFORM}, 1)"));
}

#[derive(Debug, Clone)]
struct Place {
    kind: String,
    record: u128,
    field: String,
    secret_version: u64,
}

impl Place {
    fn at(&self) -> Coordinates<'_> {
        Coordinates {
            tenant: TENANT,
            kind: &self.kind,
            record: Uuid::from_u128(self.record),
            field: &self.field,
            secret_version: self.secret_version,
        }
    }
}

fn coordinates((place, tenant): &(Place, TenantId)) -> Coordinates<'_> {
    Coordinates { tenant: *tenant, ..place.at() }
}

/// Small alphabets, so that near collisions are common.
fn places() -> impl Strategy<Value = Place> {
    ("[ab|]{0,3}", 0..3u128, "[ab|]{0,3}", 0..3u64).prop_map(|(kind, record, field, secret_version)| Place {
        kind,
        record,
        field,
        secret_version,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn what_was_sealed_is_opened(plain in proptest::collection::vec(any::<u8>(), 0..600), place in places()) {
        let key = key();
        let sealed = key.seal(&place.at(), &plain).unwrap();
        let opened = key.open(&place.at(), &sealed).unwrap();
        prop_assert_eq!(opened.as_slice(), plain);
    }

    #[test]
    fn an_envelope_opens_at_no_other_coordinates(one in places(), two in places()) {
        let key = key();
        let sealed = key.seal(&one.at(), b"secret").unwrap();
        let opened = key.open(&two.at(), &sealed);
        if one.at() == two.at() {
            prop_assert!(opened.is_ok());
        } else {
            prop_assert!(matches!(opened, Err(VaultError::Altered)));
        }
    }

    #[test]
    fn of_two_envelopes_neither_opens_in_the_others_place(
        one in places(), two in places(), tenants in (0..2u128, 0..2u128)
    ) {
        let of = |tenant: u128| KeyOf { tenant: TenantId(Uuid::from_u128(100 + tenant)), id: 1 };
        let keys = [DataKey::generate(of(0)).unwrap(), DataKey::generate(of(1)).unwrap()];
        let at = |place: &'_ Place, tenant: u128| (place.clone(), of(tenant).tenant);
        let (one, two) = (at(&one, tenants.0), at(&two, tenants.1));
                let first = keys[tenants.0 as usize].seal(&coordinates(&one), b"first").unwrap();
        let second = keys[tenants.1 as usize].seal(&coordinates(&two), b"second").unwrap();
        prop_assume!(coordinates(&one) != coordinates(&two));
        for key in &keys {
            prop_assert!(key.open(&coordinates(&two), &first).is_err());
            prop_assert!(key.open(&coordinates(&one), &second).is_err());
        }
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(key().open(&AT, &bytes).is_err());
        let dressed = [b"GH\x02\x01\0\0\0\x01".as_slice(), &bytes].concat();
        prop_assert!(key().open(&AT, &dressed).is_err());
    }
}
