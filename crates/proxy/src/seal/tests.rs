//! Sealed texts: what comes back, and what never does.

use model::TenantId;
use proptest::prelude::*;

use super::*;
use crate::cursors::Place;
use crate::exposed::open_task;
use crate::session::Session;
use crate::sse_clients::Named;

#[test]
fn what_was_sealed_opens_under_the_same_purpose_and_key_only() {
    let sealer = Sealer::with_own_key();
    let text = sealer.seal("session", b"hello").unwrap();
    assert_eq!(sealer.open("session", text.as_bytes()).as_deref(), Some(&b"hello"[..]));
    assert_eq!(sealer.open("cursor", text.as_bytes()), None);
    let mut broken = text.clone().into_bytes();
    broken[20] ^= 1;
    assert_eq!(sealer.open("session", &broken), None);
    assert_eq!(Sealer::with_own_key().open("session", text.as_bytes()), None);
    assert_ne!(sealer.seal("session", b"hello").unwrap(), text);
}

#[test]
fn the_previous_key_still_opens() {
    let sealer = Sealer::default();
    assert!(!sealer.is_ready());
    sealer.set_keys(FleetKey { id: 1, key: [1; 32] }, None);
    let text = sealer.seal("session", b"x").unwrap();
    sealer.set_keys(FleetKey { id: 2, key: [2; 32] }, Some(FleetKey { id: 1, key: [1; 32] }));
    assert!(sealer.open("session", text.as_bytes()).is_some());
    sealer.set_keys(FleetKey { id: 3, key: [3; 32] }, Some(FleetKey { id: 2, key: [2; 32] }));
    assert!(sealer.open("session", text.as_bytes()).is_none());
}

/// What ids that clients bring back are sealed for.
const LABELS: [&str; 4] =
    ["gatehouse/session/v1", "gatehouse/cursor/v1", "gatehouse/task/v1", "gatehouse/sse-stream/v1"];

fn label() -> impl Strategy<Value = &'static str> {
    prop::sample::select(LABELS.to_vec())
}

/// Nothing that opens under `id` makes anybody panic, whatever it says.
fn read_by_all(sealer: &Sealer, id: &str) -> [bool; 4] {
    let session = Session::open(sealer, id.as_bytes(), 0);
    if let Some(session) = &session {
        let again = session.seal(sealer).unwrap();
        assert_eq!(Session::open(sealer, again.as_bytes(), 0).as_ref(), Some(session));
    }
    let place = Place::of(TenantId(uuid::Uuid::nil()), mcp::ListKind::Tools, None, crate::client::Client::GATEWAY);
    let query = format!("sessionId={id}");
    [
        session.is_some(),
        place.page(sealer, id).is_some(),
        open_task(sealer, TenantId(uuid::Uuid::nil()), id).is_some(),
        Named::read(sealer, Some(&query)).is_some(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_sealed_comes_back_as_it_was(plain in prop::collection::vec(any::<u8>(), 0..300), label in label()) {
        let sealer = Sealer::with_own_key();
        let text = sealer.seal(label, &plain).unwrap();
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
        prop_assert_eq!(sealer.open(label, text.as_bytes()), Some(plain));
        for other in LABELS {
            prop_assert!(other == label || sealer.open(other, text.as_bytes()).is_none());
        }
    }

    #[test]
    fn no_change_of_a_sealed_text_opens(
        plain in prop::collection::vec(any::<u8>(), 0..60),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
        how in 0..4u8,
    ) {
        let sealer = Sealer::with_own_key();
        let text = sealer.seal(LABELS[0], &plain).unwrap().into_bytes();
        let (at, mut changed) = (at.index(text.len()), text.clone());
        match how {
            0 => changed[at] = with,
            1 => changed.insert(at, with),
            2 => drop(changed.remove(at)),
            _ => changed.truncate(at),
        }
        prop_assert!(changed == text || sealer.open(LABELS[0], &changed).is_none());
    }

    #[test]
    fn whatever_a_good_seal_holds_is_read_with_care(
        plain in prop::collection::vec(prop_oneof![any::<u8>(), 0..6u8], 0..200),
        label in label(),
    ) {
        let sealer = Sealer::with_own_key();
        let opened = read_by_all(&sealer, &sealer.seal(label, &plain).unwrap());
        // Each reads what was sealed for it, and nothing else.
        let own = LABELS.map(|other| other == label);
        prop_assert!(opened.iter().zip(own).all(|(opened, own)| own || !opened));
    }

    #[test]
    fn no_text_opens(text in "[A-Za-z0-9_=&%-]{0,200}|\\PC{0,60}") {
        prop_assert_eq!(read_by_all(&Sealer::with_own_key(), &text), [false; 4]);
    }
}
