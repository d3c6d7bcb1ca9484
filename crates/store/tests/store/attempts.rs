//! Attempts: each is taken once, until its end.

use store::{Attempt, NewAttempt, Store};

use crate::house::{House, START};
use crate::sign_in::{MINUTE, hash, race};

fn attempt(number: u32, expires_at: i64) -> NewAttempt {
    NewAttempt {
        hash: hash(number),
        kind: "oidc".to_owned(),
        payload: "{\"nonce\":\"☃\"}".to_owned(),
        binding: [7; 32],
        expires_at,
    }
}

#[tokio::test]
async fn an_attempt_is_kept_until_it_is_taken_or_has_ended() {
    let house = House::new().await;
    let platform = house.store.platform();
    platform.create_attempt(attempt(1, START + MINUTE)).await.unwrap();
    platform.create_attempt(attempt(2, i64::MAX)).await.unwrap();
    let kept = Attempt {
        kind: "oidc".to_owned(),
        payload: "{\"nonce\":\"☃\"}".to_owned(),
        binding: [7; 32],
        created_at: START,
        expires_at: START + MINUTE,
    };
    assert_eq!(platform.attempt(hash(1)).await.unwrap(), Some(kept.clone()));
    assert_eq!(platform.attempt(hash(2)).await.unwrap().unwrap().expires_at, START + 10 * MINUTE, "no longer");
    assert_eq!(platform.take_attempt(hash(1)).await.unwrap(), Some(kept));
    assert_eq!(platform.take_attempt(hash(1)).await.unwrap(), None);
    assert_eq!(platform.attempt(hash(1)).await.unwrap(), None);
    house.clock.advance_micros(10 * MINUTE);
    assert_eq!(platform.attempt(hash(2)).await.unwrap(), None);
    assert_eq!(platform.take_attempt(hash(2)).await.unwrap(), None);
    assert!(platform.create_attempt(attempt(3, i64::MAX)).await.is_ok());
    assert!(platform.create_attempt(attempt(3, i64::MAX)).await.is_err(), "one attempt for each secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_who_take_an_attempt_at_once_one_has_it() {
    let house = House::new().await;
    let second = house.second_process().await;
    for number in 0..20 {
        house.store.platform().create_attempt(attempt(number, START + MINUTE)).await.unwrap();
        let take = |store: Store| async move { store.platform().take_attempt(hash(number)).await.unwrap() };
        let told = race(&house, &second, take).await;
        assert_eq!(told.into_iter().flatten().count(), 1, "{number}");
    }
}
