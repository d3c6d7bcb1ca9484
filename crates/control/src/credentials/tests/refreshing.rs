//! Tokens: each fetched once for everybody, stored before use, and never lost by a failure that may pass.

use store::{PutToken, StoreError};

use super::*;
use crate::credentials::material::token_place;

const CONTEXT: Context = Context { user_id: None, department_id: None, work_id: None };

impl House {
    async fn lines(&self, server: &ServerRecord, record: &ConnectionRecord) -> Result<HeaderLines, Unresolved> {
        self.one.lines(server, Some(&self.now(record).await), &CONTEXT, 0).await
    }

    /// As a proxy asks after a 401.
    async fn newer(
        &self,
        server: &ServerRecord,
        record: &ConnectionRecord,
        than: i64,
    ) -> Result<HeaderLines, Unresolved> {
        self.one.lines(server, Some(&self.now(record).await), &CONTEXT, than).await
    }

    /// The token as another process would have stored it.
    async fn put(&self, record: &ConnectionRecord, access: &str) -> Result<(), StoreError> {
        let record = self.now(record).await;
        let answer = format!(r#"{{"access_token":"{access}","refresh_token":"rt-x","expires_in":3600}}"#);
        let token = Token::from_response(
            answer.as_bytes(),
            &crate::auth::ResponseMap::default(),
            self.clock.now_micros(),
            None,
        );
        let token = token.unwrap();
        let next = record.token_generation + 1;
        let sealed = self.one.inner.keyring.seal(token_place(&record), next, &token.to_json()).await.unwrap();
        let put = PutToken {
            lease: None,
            expected_generation: record.token_generation,
            token: sealed,
            expires_at: token.expires_at,
            refreshable: true,
            fingerprints: vec![],
        };
        self.store.tenant(self.tenant).put_token(record.id, put).await.map(drop)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r52_any_number_of_callers_of_several_replicas_make_one_token_request() {
    let house = House::open().await;
    let (server, record) = house.signed_in().await;
    house.pass(3_600);
    house.endpoint.rotates("rt-0");
    let replicas = [house.one.clone(), house.replica().await, house.replica().await];
    house.endpoint.holds();
    let callers: Vec<_> = (0..200)
        .map(|at| {
            let (own, server, record) = (replicas[at % 3].clone(), server.clone(), record.clone());
            tokio::spawn(async move { own.lines(&server, Some(&record), &CONTEXT, 0).await })
        })
        .collect();
    house.endpoint.asked_times(1).await;
    house.endpoint.goes_on();
    for caller in callers {
        let lines = caller.await.unwrap().unwrap();
        assert_eq!((bearer(&lines).as_str(), lines.token_generation, lines.credential_version), ("at-1", 2, 1));
    }
    assert_eq!(house.endpoint.asked().len(), 1);
    assert_eq!(house.now(&record).await.status, ConnectionStatus::Active);
}

#[tokio::test]
async fn r51_a_rotated_refresh_token_is_stored_before_the_new_token_is_used() {
    let house = House::open().await;
    let (server, record) = house.signed_in().await;
    house.endpoint.rotates("rt-0");
    for turn in 1..=20 {
        house.pass(3_600);
        let lines = house.lines(&server, &record).await.unwrap();
        assert_eq!((bearer(&lines), lines.token_generation), (format!("at-{turn}"), turn + 1));
        // What stands in the row is what was given out: a process that begins now has it, and spends the next one.
        let stored = house.now(&record).await;
        let token = house.one.token_of(&stored, &Credential::empty()).await.unwrap().unwrap();
        assert_eq!(token.access_token.expose(), format!("at-{turn}"));
        assert_eq!(token.refresh_token.as_ref().unwrap().expose(), format!("rt-{turn}"));
        assert_eq!((stored.token_generation, stored.credential_version), (turn + 1, 1));
    }
    assert_eq!(house.endpoint.asked().len(), 20);
    let spent: Vec<_> = house.endpoint.asked().iter().filter_map(|asked| asked.field("refresh_token")).collect();
    assert_eq!(spent, (0..20).map(|turn| format!("rt-{turn}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn r48_the_next_token_is_fetched_while_the_current_one_serves() {
    let house = House::open().await;
    let (server, record) = house.signed_in().await;
    house.pass(3_400);
    house.endpoint.holds();
    let lines = house.lines(&server, &record).await.unwrap();
    assert_eq!(bearer(&lines), "at-0", "nobody waits");
    house.endpoint.asked_times(1).await;
    assert_eq!(bearer(&house.lines(&server, &record).await.unwrap()), "at-0");
    house.endpoint.goes_on();
    let fetched = async {
        while house.now(&record).await.token_generation == 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), fetched).await.unwrap();
    assert_eq!(bearer(&house.lines(&server, &record).await.unwrap()), "at-1");
    assert_eq!(house.endpoint.asked().len(), 1);
}

#[tokio::test]
async fn r54_only_oauths_own_codes_end_a_grant_and_everything_else_may_pass() {
    let house = House::open().await;
    let (server, record) = house.signed_in().await;
    house.endpoint.rotates("rt-0");
    // Close to the end: it is waited for, and the current token still serves.
    house.pass(3_580);
    for (status, body) in [
        (500, ""),
        (503, r#"{"error":"invalid_grant"}"#),
        (400, "invalid_grant canary-body"),
        (400, r#"{"error":"temporarily_unavailable"}"#),
        (429, r#"{"error":"slow_down"}"#),
        (403, "<html>canary-body</html>"),
        (200, "<html>canary-body</html>"),
        (200, r#"{"no":"token"}"#),
        (200, r#"{"access_token":"a\nb"}"#),
    ] {
        house.endpoint.answers(status, body);
        house.one.inner.pauses.clear();
        let lines = house.lines(&server, &record).await.unwrap();
        assert_eq!(bearer(&lines), "at-0", "{status} {body}");
        let stored = house.now(&record).await;
        assert_eq!((stored.status, stored.token_generation), (ConnectionStatus::Active, 1), "{status} {body}");
        let error = stored.last_error.unwrap();
        assert!(!error.message.contains("canary"), "{}", error.message);
    }
    // Once it has ended there is nothing to serve with, and nothing is lost either.
    house.pass(20);
    house.endpoint.answers(502, "");
    house.one.inner.pauses.clear();
    let why = house.lines(&server, &record).await.unwrap_err();
    assert_eq!((why.reason.as_str(), why.retry_after.is_some()), ("busy", true));
    let asked = house.endpoint.asked().len();
    let why = house.lines(&server, &record).await.unwrap_err();
    assert_eq!((why.reason.as_str(), house.endpoint.asked().len()), ("busy", asked), "it is left alone for a while");
    house.pass(120);
    assert_eq!(bearer(&house.lines(&server, &record).await.unwrap()), "at-1");
    assert_eq!(house.now(&record).await.last_error, None);
    for code in ["invalid_grant", "invalid_token", "bad_refresh_token", "expired_token"] {
        let (server, record) = house.signed_in().await;
        house.pass(3_600);
        house.endpoint.answers(400, &format!(r#"{{"error":"{code}","error_description":"canary"}}"#));
        let why = house.lines(&server, &record).await.unwrap_err();
        assert_eq!((why.reason.as_str(), why.retry_after), ("reauth_required", None), "{code}");
        let stored = house.now(&record).await;
        assert_eq!((stored.status, stored.token.is_some()), (ConnectionStatus::ReauthRequired, false), "{code}");
        assert_eq!(stored.last_error.unwrap().code, code);
        house.pass(-3_600);
    }
}

#[tokio::test]
async fn r54_a_thousand_failures_of_the_token_endpoint_lose_no_grant() {
    let house = House::open().await;
    let (server, record) = house.signed_in().await;
    house.endpoint.rotates("rt-0");
    house.pass(3_600);
    for _ in 0..1_000 {
        house.endpoint.answers(500, "");
    }
    let mut answered = 0;
    while bearer_of(house.lines(&server, &record).await).is_none() {
        answered += 1;
        house.pass(61);
    }
    assert_eq!((answered, house.endpoint.asked().len()), (1_000, 1_001));
    assert_eq!(house.now(&record).await.status, ConnectionStatus::Active);
}

fn bearer_of(lines: Result<HeaderLines, Unresolved>) -> Option<String> {
    lines.ok().map(|lines| bearer(&lines))
}

#[tokio::test]
async fn r53_a_losers_invalid_grant_takes_nothing_from_the_winner() {
    let house = House::open().await;
    let (server, record) = house.signed_in().await;
    house.pass(3_600);
    house.endpoint.holds();
    house.endpoint.answers(400, r#"{"error":"invalid_grant"}"#);
    let (own, asked_for, of) = (house.one.clone(), server.clone(), record.clone());
    let loser = tokio::spawn(async move { own.lines(&asked_for, Some(&of), &CONTEXT, 0).await });
    house.endpoint.asked_times(1).await;
    house.put(&record, "at-winner").await.unwrap();
    house.endpoint.goes_on();
    assert_eq!(bearer(&loser.await.unwrap().unwrap()), "at-winner");
    let stored = house.now(&record).await;
    assert_eq!((stored.status, stored.token_generation, stored.last_error), (ConnectionStatus::Active, 2, None));
}

#[tokio::test]
async fn r53_an_owner_who_comes_late_does_not_overwrite_a_newer_token() {
    let house = House::open().await;
    let (server, record) = house.signed_in().await;
    house.pass(3_600);
    house.endpoint.holds();
    let (own, asked_for, of) = (house.one.clone(), server.clone(), record.clone());
    let late = tokio::spawn(async move { own.lines(&asked_for, Some(&of), &CONTEXT, 0).await });
    house.endpoint.asked_times(1).await;
    house.put(&record, "at-newer").await.unwrap();
    house.endpoint.goes_on();
    assert_eq!(bearer(&late.await.unwrap().unwrap()), "at-newer");
    assert_eq!(bearer(&house.lines(&server, &record).await.unwrap()), "at-newer");
}

#[tokio::test]
async fn r55_a_dead_client_is_forgotten_and_tokens_are_kept() {
    let house = House::open().await;
    let (server, record) = house.signed_in().await;
    house.pass(3_580);
    for (nth, code) in ["invalid_client", "unauthorized_client"].into_iter().enumerate() {
        house.endpoint.answers(401, &format!(r#"{{"error":"{code}"}}"#));
        house.one.inner.pauses.clear();
        assert_eq!(bearer(&house.lines(&server, &record).await.unwrap()), "at-0", "while it lives");
        assert_eq!(house.endpoint.forgotten(), nth + 1);
        let stored = house.now(&record).await;
        assert_eq!((stored.status, stored.token_generation), (ConnectionStatus::Active, 1));
        assert_eq!(stored.last_error.unwrap().code, code);
    }
    house.endpoint.answers(400, r#"{"error":"invalid_client_metadata"}"#);
    house.one.inner.pauses.clear();
    house.lines(&server, &record).await.unwrap();
    assert_eq!(house.endpoint.forgotten(), 2, "that is another thing");
}

#[tokio::test]
async fn r56_who_was_refused_with_an_old_token_gets_the_stored_one_without_a_refresh() {
    let house = House::open().await;
    let (server, record) = house.signed_in().await;
    house.put(&record, "at-1").await.unwrap();
    for than in [0, 1] {
        let lines = house.newer(&server, &record, than).await.unwrap();
        assert_eq!((bearer(&lines).as_str(), lines.token_generation), ("at-1", 2));
    }
    assert!(house.endpoint.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn r57_a_refused_token_is_refreshed_once_and_what_comes_back_is_another() {
    let house = House::open().await;
    let (server, record) = house.signed_in().await;
    house.endpoint.rotates("rt-0");
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let (own, server, record) = (house.one.clone(), server.clone(), record.clone());
            tokio::spawn(async move { own.lines(&server, Some(&record), &CONTEXT, 1).await })
        })
        .collect();
    for caller in callers {
        let lines = caller.await.unwrap().unwrap();
        assert_eq!((bearer(&lines).as_str(), lines.token_generation), ("at-1", 2));
    }
    assert_eq!(house.endpoint.asked().len(), 1);
}

#[tokio::test]
async fn r71_a_refresh_token_goes_to_its_issuer_and_client_alone_with_the_resource() {
    let house = House::open().await;
    let (server, record) = house.signed_in().await;
    house.endpoint.rotates("rt-0");
    house.pass(3_600);
    house.lines(&server, &record).await.unwrap();
    let asked = &house.endpoint.asked()[0];
    for (name, value) in [
        ("grant_type", "refresh_token"),
        ("refresh_token", "rt-0"),
        ("resource", URL),
        ("client_id", "gatehouse"),
        ("client_secret", "client-secret"),
    ] {
        assert_eq!(asked.field(name).as_deref(), Some(value), "{name}");
    }
    // Another client was registered since: the token is not its.
    house.endpoint.registers("another");
    house.pass(3_600);
    let why = house.lines(&server, &record).await.unwrap_err();
    assert_eq!(why.reason, "reauth_required");
    // And a token of another issuer is sent nowhere.
    let credential = json!({"access_token": "a", "refresh_token": "rt", "expires_at": START / SECOND,
        "issuer_url": "https://elsewhere.example"});
    let server = house.server(json!({"type": "authorization_code", "scopes": ["global"]})).await;
    let foreign = house.connection(&server, Holder::Global, credential).await;
    let why = house.lines(&server, &foreign).await.unwrap_err();
    assert_eq!(why.reason, "reauth_required");
    assert_eq!(house.endpoint.asked().len(), 1);
}

#[tokio::test]
async fn fault_38_an_answer_without_a_refresh_token_leaves_the_old_one_good() {
    let house = House::open().await;
    let (server, record) = house.signed_in().await;
    for turn in 1..=2 {
        house.pass(3_600);
        assert_eq!(bearer(&house.lines(&server, &record).await.unwrap()), format!("at-{turn}"));
    }
    let spent: Vec<_> = house.endpoint.asked().iter().filter_map(|asked| asked.field("refresh_token")).collect();
    assert_eq!(spent, ["rt-0", "rt-0"]);
}

#[tokio::test]
async fn r77_a_redirect_of_a_token_endpoint_is_not_followed() {
    let house = House::open().await;
    let (server, record) = house.signed_in().await;
    house.pass(3_600);
    for status in [302, 307, 308] {
        house.endpoint.answers(status, "");
        house.one.inner.pauses.clear();
        assert_eq!(house.lines(&server, &record).await.unwrap_err().reason, "busy");
    }
    assert_eq!(house.endpoint.asked().len(), 3);
    assert_eq!(house.now(&record).await.status, ConnectionStatus::Active);
}

#[tokio::test]
async fn a_caller_who_leaves_cuts_no_refresh() {
    let house = House::open().await;
    let (server, record) = house.signed_in().await;
    house.endpoint.rotates("rt-0");
    house.pass(3_600);
    house.endpoint.holds();
    let (own, asked_for, of) = (house.one.clone(), server.clone(), record.clone());
    let caller = tokio::spawn(async move { own.lines(&asked_for, Some(&of), &CONTEXT, 0).await });
    house.endpoint.asked_times(1).await;
    caller.abort();
    assert!(caller.await.is_err());
    house.endpoint.goes_on();
    assert_eq!(bearer(&house.lines(&server, &record).await.unwrap()), "at-1");
    assert_eq!(house.endpoint.asked().len(), 1);
}

#[tokio::test]
async fn fault_54_a_clock_that_jumps_makes_no_loop_of_refreshes() {
    let house = House::open().await;
    let (server, record) = house.signed_in().await;
    house.endpoint.rotates("rt-0");
    house.pass(3_600);
    house.lines(&server, &record).await.unwrap();
    for jump in [-3_600, 600, -600, 3_000] {
        house.pass(jump);
        house.lines(&server, &record).await.unwrap();
    }
    assert_eq!(house.endpoint.asked().len(), 1);
}

/// A server whose tokens are asked for there.
fn asks_at(house: &House, path: &str) -> Value {
    json!({"type": "client_credentials", "token_url": format!("{}{path}", house.endpoint.base), "scopes": ["global"]})
}

fn client() -> Value {
    json!({"secrets": {"client_id": "ours", "client_secret": "s"}})
}

#[tokio::test]
async fn t04_a_credential_goes_where_the_settings_of_now_send_it() {
    let house = House::open().await;
    let seen = house.server(asks_at(&house, "/old")).await;
    let record = house.connection(&seen, Holder::Global, client()).await;
    // The settings change while the turn is waited for.
    let (config, _) = parse_native(asks_at(&house, "/new")).unwrap();
    let auth = ServerAuth { config: config.to_stored(), binding: config.binding(), secret: SecretChange::Keep };
    let patch = store::ServerPatch { auth: Some(auth), ..store::ServerPatch::default() };
    let tenant = house.store.tenant(house.tenant);
    tenant.patch_server(&Actor::system("test"), seen.spec.id, None, patch).await.unwrap();
    house.lines(&seen, &record).await.unwrap();
    let asked = house.endpoint.asked();
    assert_eq!(asked.iter().map(|asked| asked.path.as_str()).collect::<Vec<_>>(), ["/new"]);
}

#[tokio::test]
async fn who_asks_for_a_generation_that_nobody_was_given_gets_one_new_token() {
    let house = House::open().await;
    let (server, record) = house.signed_in().await;
    house.endpoint.rotates("rt-0");
    let lines = house.newer(&server, &record, i64::MAX).await.unwrap();
    assert_eq!((bearer(&lines).as_str(), house.endpoint.asked().len()), ("at-1", 1));
}

#[tokio::test]
async fn a_credential_that_was_mended_is_asked_with_at_once() {
    let house = House::open().await;
    let server = house.server(asks_at(&house, "/token")).await;
    let record = house.connection(&server, Holder::Global, client()).await;
    for _ in 0..8 {
        house.endpoint.answers(401, r#"{"error":"invalid_client"}"#);
        house.lines(&server, &record).await.unwrap_err();
        house.pass(61);
    }
    house.endpoint.answers(401, r#"{"error":"invalid_client"}"#);
    house.lines(&server, &record).await.unwrap_err();
    let asked = house.endpoint.asked().len();
    let why = house.lines(&server, &record).await.unwrap_err();
    assert_eq!((why.reason.as_str(), house.endpoint.asked().len()), ("busy", asked));
    let credential = Credential::parse(client()).unwrap();
    let place = crate::credentials::credential_place(&record);
    let sealed = house.one.inner.keyring.seal(place, 2, &credential.to_json()).await.unwrap();
    let change = CredentialChange { to: NewCredential::Sealed(sealed), version: 2, fingerprints: vec![] };
    let patch = store::ConnectionPatch { credential: Some(change), ..store::ConnectionPatch::default() };
    let tenant = house.store.tenant(house.tenant);
    tenant.patch_connection(&Actor::system("test"), record.id, None, patch).await.unwrap();
    assert_eq!(bearer(&house.lines(&server, &record).await.unwrap()), "at-1");
}
