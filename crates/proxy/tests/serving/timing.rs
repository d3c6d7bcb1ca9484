//! How long a refusal takes says nothing of the secret that was guessed.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST};
use model::{KeyRole, KeyScopes, KeyText, KeyVerifier, ManualClock, Resource};
use proxy::{Change, Gate, Hosts, Readiness, Sealer, Tables};
use telemetry::Metrics;

use crate::house::{MORNING, tenant};

/// Beyond this two classes are told apart (dudect's figure).
const TOLD_APART: f64 = 4.5;

/// A key as it was guessed, its hash, and the hash that the table has.
struct Guess {
    headers: HeaderMap,
    shown: [u8; 32],
    kept: [u8; 32],
    late: bool,
}

/// Keys that are known here, and for each a guess that is wrong in the first byte of the hash, or in the last alone.
/// The guess is made first and the table filled to it: nobody could make such guesses.
fn guesses(count: usize) -> (Gate, Vec<Guess>) {
    let tables = Arc::new(Tables::new(egress::Egress::new(egress::Policy::default()).unwrap()));
    let mut upserts = vec![Resource::Tenant(tenant())];
    let mut guesses = Vec::with_capacity(count);
    for number in 0..count {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        let text = KeyText::mint("test", id, [number as u8; 32]);
        let late = number % 2 == 0;
        let mut kept = text.sha256();
        kept[if late { 31 } else { 0 }] ^= 1;
        upserts.push(Resource::Key(KeyVerifier {
            id: text.id(),
            tenant: tenant().id,
            user: None,
            role: KeyRole::User,
            scopes: KeyScopes::PLAIN,
            sha256: kept,
            servers: None,
            expires_at: None,
        }));
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "localhost".parse().unwrap());
        headers.insert(AUTHORIZATION, format!("Bearer {}", text.expose().expose()).parse().unwrap());
        guesses.push(Guess { headers, shown: text.sha256(), kept, late });
    }
    assert_eq!(tables.apply(Change { upserts, ..Change::default() }), []);
    let readiness = Arc::new(Readiness::default());
    readiness.table_is_there();
    readiness.heard(MORNING);
    let (clock, sealer) = (Arc::new(ManualClock::at(MORNING)), Arc::new(Sealer::with_own_key()));
    let egress = egress::Egress::new(egress::Policy::default()).unwrap();
    let gate = Gate::new(tables, sealer, clock, Hosts::default(), readiness, egress, &Metrics::new());
    (gate, guesses)
}

/// Welch's t between what each guess takes, the early wrong ones against the late ones. Each guess counts once, by
/// its median: where its key lies in memory and what its text costs to read differs from guess to guess, and what
/// else this machine does lengthens some of the rounds.
fn told_apart(guesses: &[Guess], rounds: usize, mut act: impl FnMut(&Guess)) -> f64 {
    let mut times = vec![Vec::with_capacity(rounds); guesses.len()];
    let mut order: Vec<usize> = (0..guesses.len()).collect();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..rounds {
        // Another order each time: what came before is no part of a class.
        for at in (1..order.len()).rev() {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            order.swap(at, (random % (at as u64 + 1)) as usize);
        }
        for &at in &order {
            let begun = Instant::now();
            act(&guesses[at]);
            times[at].push(begun.elapsed().as_nanos() as f64);
        }
    }
    let mut classes = [Vec::new(), Vec::new()];
    for (times, guess) in times.iter_mut().zip(guesses) {
        times.sort_by(f64::total_cmp);
        classes[usize::from(guess.late)].push(times[times.len() / 2]);
    }
    let [(early, early_error), (late, late_error)] = classes.map(|class| {
        let count = class.len() as f64;
        let mean = class.iter().sum::<f64>() / count;
        let variance = class.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    });
    (late - early) / (early_error + late_error).sqrt().max(f64::MIN_POSITIVE)
}

/// A comparison that stops at the first difference, as nobody should write one.
fn leaky(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.iter().zip(other).all(|(one, other)| black_box(one) == black_box(other))
}

/// By the clock only in `make long`: a million guesses. Else every guess is refused, and that is all that is asked.
#[test]
fn no_key_is_told_by_the_time_that_its_refusal_takes() {
    let long = std::env::var_os("GATEHOUSE_LONG").is_some();
    let (gate, guesses) = guesses(if long { 4_000 } else { 100 });
    for guess in &guesses {
        assert!(!gate.lets_in("/mcp", &guess.headers), "a wrong secret");
    }
    if !long {
        return;
    }
    let leaks = |guess: &Guess| assert!(!leaky(black_box(&guess.shown), black_box(&guess.kept)));
    let seen = told_apart(&guesses, 50, leaks);
    assert!(seen.abs() > TOLD_APART, "what leaks is not even seen: t = {seen:.1}");
    let t = told_apart(&guesses, 250, |guess| assert!(!gate.lets_in("/mcp", black_box(&guess.headers))));
    println!("t = {t:.2} for keys, and {seen:.1} for a comparison that leaks");
    assert!(t.abs() < TOLD_APART, "the time tells how much of a hash is right: t = {t:.1}");
}
