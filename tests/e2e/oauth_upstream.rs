//! Upstreams that want OAuth: people sign in by a link, tokens are refreshed while nobody notices, and nothing has to be
//! started again.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tests::authority::{Discovery, Iss, Refresh, Registration, Shape};
use tests::guard::{Challenge, Prm};
use tests::lasting::Lasting;
use tests::{Authority, Browser, Gatehouse, Guard, Issuer, Mcp, Upstream, eventually};

use crate::harbour::{Harbour, Person, add_with, link_at, link_of, whoami};
use crate::people;
use crate::shell::Shell;
use crate::ways::user;

#[tokio::test]
async fn a_server_that_wants_oauth_is_added_with_one_command_and_logged_in_to_with_another() {
    let authority = Authority::start().await;
    let guard = Guard::by(&authority);
    let upstream = Upstream::guarded("safe", &guard).await;
    let house = Gatehouse::start().await;
    let mut ann = Person::new(&house.admin(), "ann").await;
    Shell::of(&house).told(&["server", "add", "safe", &upstream.url()]).await;

    // As ann: the command prints the link, waits, and says how it ended.
    let shell = Shell::with_key(&house, &ann.key);
    let printed = house.dir().join("login.out");
    let (ran, ()) = tokio::join!(shell.run_into(&["login", "safe"], &printed), async {
        let link = eventually("the link is printed", || async {
            let text = std::fs::read_to_string(&printed).unwrap_or_default();
            text.split_whitespace().find(|word| word.contains("/connect/")).map(str::to_owned)
        })
        .await;
        ann.log_in(&link).await;
    });
    assert_eq!(ran.code, 0, "{ran:?}");
    let mcp = Mcp::open(&house.at("/mcp"), &ann.key).await;
    let who: Value = serde_json::from_str(&mcp.text("safe__whoami", json!({})).await).unwrap();
    assert_eq!(who["person"], "somebody");

    // And out again: the connection is gone, here and there.
    assert_eq!(shell.run(&["logout", "safe"]).await.code, 0);
    assert_eq!(authority.alive(), 0, "the authorization server was told");
    link_of(&mcp.call("safe__whoami", json!({})).await);
}

#[tokio::test]
async fn a_person_logs_in_to_an_upstream_behind_a_real_authorization_server_with_a_real_browser() {
    let Some(browser) = Browser::start().await else { return };
    let accounts = json!({"id-ann": {"preferred_username": "ann"}});
    let Some(mut issuer) = Issuer::short(&accounts, 6).await else { return };
    let guard = Guard::by_issuer(issuer.url()).scope("mcp");
    let upstream = Upstream::guarded("safe", &guard).await;
    let house = Gatehouse::start().await;
    let admin = house.admin();
    user(&admin, "ann", &[]).await;
    let page = browser.page("ann");
    page.goto(&people::link(&admin, "ann").await).await;
    people::choose_password(&page).await;
    Shell::of(&house).told(&["server", "add", "safe", &upstream.url(), "--auth", "oauth"]).await;

    let key = admin.key_of("ann").await;
    let shell = Shell::with_key(&house, &key);
    let printed = house.dir().join("login.out");
    let (ran, ()) = tokio::join!(shell.run_into(&["login", "safe"], &printed), async {
        let link = eventually("the link is printed", || async {
            let text = std::fs::read_to_string(&printed).unwrap_or_default();
            text.split_whitespace().find(|word| word.contains("/connect/")).map(str::to_owned)
        })
        .await;
        page.goto(&link).await;
        page.shoot("connect").await;
        let text = page.text().await;
        for word in ["ann", "safe", "Default"] {
            assert!(text.contains(word), "the page names {word}: {text}");
        }
        press(&page).await;
        issuer.sign_in(&page, "id-ann").await;
        page.at(house.control()).await;
        page.shoot("connected").await;
    });
    assert_eq!(ran.code, 0, "{ran:?}");
    let mcp = Mcp::open(&house.at("/servers/safe/mcp"), &key).await;
    assert_eq!(mcp.text("echo", json!({"text": "hi"})).await, "safe: hi");
    let calls = guard.calls();
    assert!(calls.iter().all(|call| call.header("authorization").starts_with("Bearer ")), "{calls:?}");

    // Its tokens end soon, and its refresh tokens are good for one use: nobody notices.
    let before = issuer.asked("/token").await;
    for _ in 0..12 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(mcp.text("echo", json!({"text": "again"})).await, "safe: again");
    }
    let refreshes = issuer.asked("/token").await - before;
    assert!((2..=12).contains(&refreshes), "{refreshes}");
    let sent: BTreeSet<_> = guard.calls().iter().map(|call| call.header("authorization").to_owned()).collect();
    assert!(sent.len() >= 3, "the tokens that were sent were {} different ones", sent.len());
    let well_behaved = page.complaints(house.control()).await;
    assert_eq!(well_behaved, Vec::<Value>::new(), "the browser has something against our pages");
}

/// Presses the button of the page that leads to the authorization server, whatever its name is.
async fn press(page: &tests::browser::Page) {
    let look = page.look().await;
    let buttons = look["buttons"].as_array().unwrap();
    let button = buttons.iter().filter_map(Value::as_str).find(|text| *text != "Sign out");
    page.click(button.unwrap_or_else(|| panic!("no button: {look}"))).await;
}

#[tokio::test]
async fn a_401_then_a_refresh_then_success_is_invisible_to_real_clients() {
    let harbour = Harbour::open().await;
    let (ann, _) = harbour.connected("ann").await;
    let url = harbour.house.at("/servers/safe/mcp");
    let clients =
        [Lasting::typescript(&url, &ann.key).await, Lasting::python(&url, &ann.key).await].into_iter().flatten();
    for (mut client, tools) in clients {
        assert!(tools.contains(&"whoami".to_owned()));
        let before: Value = serde_json::from_str(&client.call("whoami", &json!({})).await.text()).unwrap();
        let (refreshes, sessions) = (harbour.authority.refreshes(), harbour.upstream.sessions());
        harbour.authority.expire_access();
        let after: Value = serde_json::from_str(&client.call("whoami", &json!({})).await.text()).unwrap();
        assert_eq!(harbour.authority.refreshes(), refreshes + 1);
        assert_ne!(before["token"], after["token"], "with a new token");
        assert_eq!(before["session"], after["session"], "in the same session at the upstream");
        assert_eq!(harbour.upstream.sessions(), sessions, "no session was opened or ended");
    }
    assert_eq!(harbour.upstream.deletes(), 0);
    assert_eq!(harbour.authority.grants_refused(), 0);
}

#[tokio::test]
async fn an_hourly_refresh_ends_no_upstream_session() {
    let harbour = Harbour::open().await;
    let (_ann, mcp) = harbour.connected("ann").await;
    let first = whoami(&mcp).await;
    let (sessions, minted) = (harbour.upstream.sessions(), harbour.upstream.messages("initialize").len());
    for hour in 1..=6u64 {
        harbour.authority.expire_access();
        let now = whoami(&mcp).await;
        assert_eq!(now["session"], first["session"], "hour {hour}");
        assert_ne!(now["token"], first["token"], "hour {hour}");
    }
    let after = (harbour.upstream.sessions(), harbour.upstream.messages("initialize").len());
    assert_eq!((after, harbour.upstream.deletes()), ((sessions, minted), 0));
    let connection = &harbour.connections().await[0];
    assert_eq!((&connection["credential_version"], &connection["status"]), (&json!(1), &json!("active")));
    assert!(connection["token_generation"].as_i64() >= Some(7), "{connection}");
}

#[tokio::test]
async fn a_second_401_gives_the_exact_error_with_a_working_link_and_after_the_login_the_same_session_goes_on() {
    let harbour = Harbour::open().await;
    let (mut ann, mcp) = harbour.connected("ann").await;
    let url = harbour.house.at("/servers/safe/mcp");
    let mut real = Lasting::typescript(&url, &ann.key).await;

    // The upstream refuses the new token too.
    harbour.guard.refuse_all(true);
    let before = harbour.guard.seen().len();
    let answer = mcp.call("whoami", json!({})).await;
    let error = &answer["error"];
    assert_eq!(error["code"], -31006, "{answer}");
    let data = &error["data"];
    assert_eq!((&data["origin"], &data["error"]), (&json!("gateway"), &json!("reauth_required")), "{answer}");
    assert_eq!((&data["server"], &data["needs_reauth"]), (&json!("safe"), &json!(true)), "{answer}");
    let link = format!("{}/connect/default/safe", harbour.house.control());
    assert_eq!(data["login_url"], link.as_str(), "{answer}");
    assert!(data["trace_id"].as_str().is_some_and(|id| !id.is_empty()), "{answer}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("Do not retry")), "{answer}");
    assert!(harbour.guard.seen().len() <= before + 2, "one retry at most");
    let connection = harbour.until_connection("it wants a login", |one| one["status"] == "reauth_required").await;
    assert_eq!(connection["token_state"], "reauth_required");
    assert!(connection["last_error"]["code"].is_string(), "{connection}");

    // Asked again, nobody is asked: not the upstream, not the authorization server.
    let (seen, issued) = (harbour.guard.seen().len(), harbour.authority.issued());
    for _ in 0..5 {
        link_of(&mcp.call("whoami", json!({})).await);
    }
    assert_eq!((harbour.guard.seen().len(), harbour.authority.issued()), (seen, issued));
    if let Some((client, _)) = &mut real {
        let error = client.call("whoami", &json!({})).await.error();
        assert_eq!((&error["code"], &error["data"]["login_url"]), (&json!(-31006), &json!(link)), "{error}");
    }

    harbour.guard.refuse_all(false);
    ann.log_in(&link).await;
    assert_eq!(whoami(&mcp).await["person"], "ann", "the next call of the same session");
    if let Some((client, _)) = &mut real {
        assert!(client.call("whoami", &json!({})).await.text().contains("ann"));
    }
    let connection = &harbour.connections().await[0];
    assert_eq!((&connection["status"], &connection["last_error"]), (&json!("active"), &Value::Null));
    assert_eq!(connection["credential_version"], 2);
}

#[tokio::test]
async fn without_a_connection_every_client_gets_the_link_in_the_form_that_it_understands() {
    let harbour = Harbour::open().await;
    let mut ann = Person::new(&harbour.admin, "ann").await;
    let link = link_at(&harbour.house.at("/servers/safe/mcp"), &ann.key).await;
    let all = Mcp::open(&harbour.house.at("/mcp"), &ann.key).await;
    let answer = all.call("safe__whoami", json!({})).await;
    assert_eq!((link_of(&answer), &answer["error"]["data"]["error"]), (link.clone(), &json!("connection_required")));
    // `gatehouse__servers` shows it too.
    assert!(all.text("gatehouse__servers", json!({})).await.contains(&link));
    // An upstream's challenge is for the gateway alone.
    let call = json!({"jsonrpc": "2.0", "id": 77, "method": "tools/call", "params": {"name": "safe__whoami"}});
    let raw = all.post(&call).await.unwrap();
    assert_eq!((raw.status.as_u16(), raw.header("www-authenticate")), (200, ""));
    assert!(!raw.text().contains("a-realm-of-the-upstream"), "{}", raw.text());
    // After the login the same session goes on, though it began without.
    ann.log_in(&link).await;
    assert!(all.text("safe__whoami", json!({})).await.contains("somebody"));
}

#[tokio::test]
async fn a_clients_key_never_reaches_an_upstream_and_the_upstreams_token_never_a_client() {
    let harbour = Harbour::open().await;
    let (ann, mcp) = harbour.connected("ann").await;
    assert_eq!(whoami(&mcp).await["person"], "ann");
    let seen = harbour.guard.seen();
    assert!(!seen.is_empty());
    let leaked = |seen: &tests::guard::Seen| format!("{seen:?}").contains(&ann.key);
    assert!(!seen.iter().any(leaked), "the client's key went upstream");
    // Every answer to `mcp` was searched for marked secrets on its way here.
    assert!(harbour.authority.secrets().iter().any(|token| harbour.guard.saw(token)));
}

#[tokio::test]
async fn the_authorization_server_is_found_wherever_it_may_be() {
    let usual = Shape::default;
    let path = || Shape { path: "/realms/a".to_owned(), ..Shape::default() };
    let variants = [
        ("challenge-elsewhere", usual(), Prm::Elsewhere, Challenge::Metadata),
        ("well-known-path", usual(), Prm::Path, Challenge::Bearer),
        ("well-known-root", usual(), Prm::Root, Challenge::Bearer),
        ("silent", usual(), Prm::Path, Challenge::Silent),
        ("issuer-with-path", path(), Prm::Path, Challenge::Metadata),
        ("oidc", Shape { discovery: Discovery::Oidc, ..usual() }, Prm::Path, Challenge::Metadata),
        ("oidc-path", Shape { discovery: Discovery::Oidc, ..path() }, Prm::Path, Challenge::Metadata),
        ("oidc-inserted", Shape { discovery: Discovery::OidcInserted, ..path() }, Prm::Path, Challenge::Metadata),
    ];
    let house = Gatehouse::start().await;
    let admin = house.admin();
    let mut ann = Person::new(&admin, "ann").await;
    for (name, shape, prm, challenge) in variants {
        println!("{name}");
        let authority = Authority::shaped(shape).await;
        let guard = Guard::by(&authority).prm(prm).challenge(challenge);
        let upstream = Upstream::guarded(name, &guard).await;
        add_with(&admin, name, &upstream.url(), &json!({"type": "authorization_code"})).await.expect(201);
        let url = house.at(&format!("/servers/{name}/mcp"));
        ann.log_in(&link_at(&url, &ann.key).await).await;
        let mcp = Mcp::open(&url, &ann.key).await;
        assert_eq!(whoami(&mcp).await["person"], "somebody", "{name}");
        let asked = authority.asked("/authorize");
        assert_eq!(asked[0].fields["resource"], upstream.url(), "{name}");
        assert_eq!(authority.grants("authorization_code")[0].fields["resource"], upstream.url(), "{name}");
        assert!(asked[0].fields["state"].len() >= 22, "at least 128 bits");
    }
}

#[tokio::test]
async fn an_authorization_server_that_is_not_what_it_should_be_gets_no_code_and_no_person() {
    let variants: [(&str, Shape, bool); 6] = [
        (
            "wrong-issuer",
            Shape { names_itself: Some("https://somebody-else.example".to_owned()), ..Shape::default() },
            false,
        ),
        ("no-pkce", Shape { pkce: false, ..Shape::default() }, false),
        ("nowhere", Shape { discovery: Discovery::Nowhere, ..Shape::default() }, false),
        ("iss-missing", Shape { iss: Iss::Missing, ..Shape::default() }, true),
        ("iss-wrong", Shape { iss: Iss::Wrong, ..Shape::default() }, true),
        ("iss-unexpected", Shape { iss: Iss::UnannouncedWrong, ..Shape::default() }, true),
    ];
    let house = Gatehouse::start().await;
    let admin = house.admin();
    let mut ann = Person::new(&admin, "ann").await;
    for (name, shape, authorizes) in variants {
        println!("{name}");
        let authority = Authority::shaped(shape).await;
        let guard = Guard::by(&authority);
        let upstream = Upstream::guarded(name, &guard).await;
        add_with(&admin, name, &upstream.url(), &json!({"type": "authorization_code"})).await.expect(201);
        let url = house.at(&format!("/servers/{name}/mcp"));
        let link = link_at(&url, &ann.key).await;
        let page = ann.visitor.goto(&link).await;
        let end = if page.answer.status == 200 { ann.visitor.lead_on(&page).await } else { page };
        assert!(end.answer.status.as_u16() >= 400, "{name}: {} {}", end.url, end.answer.text());
        assert_eq!(!authority.asked("/authorize").is_empty(), authorizes, "{name}");
        assert!(authority.asked("/token").is_empty(), "{name}: a code went out");
        link_at(&url, &ann.key).await;
    }
}

#[tokio::test]
async fn a_person_who_says_no_and_a_registration_that_fails_leave_everything_as_it_was() {
    let harbour = Harbour::open().await;
    let (mut ann, mcp) = harbour.connected("ann").await;
    let link = format!("{}/connect/default/safe", harbour.house.control());
    harbour.authority.change(|shape| shape.denies = Some("access_denied"));
    let end = ann.walk(&link).await;
    assert!(end.answer.status.as_u16() >= 400, "{}", end.answer.text());
    assert_eq!(whoami(&mcp).await["person"], "ann", "the old token works until there is a new one");
    let connection = harbour.connections().await.remove(0);
    assert_eq!((&connection["status"], &connection["credential_version"]), (&json!("active"), &json!(1)));

    // The client is dead at the authorization server: it is registered again at the next login.
    harbour.authority.change(|shape| shape.denies = None);
    harbour.authority.forget_clients();
    harbour.authority.change(|shape| shape.registration = Registration::Fails);
    let end = ann.visitor.goto(&link).await;
    let end = if end.answer.status == 200 { ann.visitor.lead_on(&end).await } else { end };
    assert!(end.answer.status.as_u16() >= 400, "{}", end.answer.text());
    assert_eq!(whoami(&mcp).await["person"], "ann");
}

#[tokio::test]
async fn a_scope_that_is_missing_leads_to_a_login_that_asks_for_all_of_them() {
    let authority = Authority::start().await;
    let guard = Guard::by(&authority).scope("basic");
    let harbour = Harbour::with(authority, guard, &json!({"type": "authorization_code"})).await;
    let (mut ann, mcp) = harbour.connected("ann").await;
    harbour.guard.needs("echo", "write");
    let answer = mcp.call("echo", json!({"text": "x"})).await;
    assert_eq!(answer["error"]["data"]["error"], "insufficient_scope", "{answer}");
    let link = link_of(&answer);
    assert_eq!(whoami(&mcp).await["person"], "ann", "what needs no more goes on");
    let connection = &harbour.connections().await[0];
    assert_eq!(connection["status"], "active", "its status is unchanged");
    ann.log_in(&link).await;
    let scopes = |asked: &str| asked.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
    let asked = harbour.authority.asked("/authorize");
    assert_eq!(scopes(&asked[0].fields["scope"]), scopes("basic"));
    assert_eq!(scopes(&asked.last().unwrap().fields["scope"]), scopes("basic write"));
    let said = eventually("the call works with the new token", || async {
        let answer = mcp.call("echo", json!({"text": "x"})).await;
        answer["result"]["content"][0]["text"].as_str().map(str::to_owned)
    })
    .await;
    assert_eq!(said, "safe: x");
}

#[tokio::test]
async fn nothing_of_one_users_login_is_reachable_by_another() {
    let harbour = Harbour::open().await;
    let (_ann, of_ann) = harbour.connected("ann").await;
    let (_ben, of_ben) = harbour.connected("ben").await;
    let cleo = Person::new(&harbour.admin, "cleo").await;
    let url = harbour.house.at("/servers/safe/mcp");
    for round in 0..5 {
        let (ann, ben) = tokio::join!(whoami(&of_ann), whoami(&of_ben));
        assert_eq!((&ann["person"], &ben["person"]), (&json!("ann"), &json!("ben")), "round {round}");
        assert_ne!(ann["session"], ben["session"]);
        link_at(&url, &cleo.key).await;
        harbour.authority.expire_access();
    }
    // One user's trouble is nobody else's.
    harbour.authority.revoke_all();
    let (_dora, of_dora) = harbour.connected("dora").await;
    link_of(&of_ann.call("whoami", json!({})).await);
    assert_eq!(whoami(&of_dora).await["person"], "dora");
    // Nor may they see or touch another's row.
    let row = harbour.connections().await.into_iter().find(|one| one["scope_name"] == "ann").expect("ann's row");
    let id = row["id"].as_str().unwrap();
    let cleo = harbour.admin.with_key(&cleo.key);
    let foreign = cleo.get(&format!("/api/v1/servers/safe/connections/{id}")).await.expect(404);
    let nobodys = "00000000-0000-4000-8000-000000000000";
    let none = cleo.get(&format!("/api/v1/servers/safe/connections/{nobodys}")).await.expect(404);
    let said = |answer: &tests::Answer, id: &str| {
        let mut body = answer.json();
        body.as_object_mut().unwrap().remove("trace_id");
        body.to_string().replace(id, "ID")
    };
    assert_eq!(said(&foreign, id), said(&none, nobodys), "the same body");
}

#[tokio::test]
async fn a_server_without_refresh_tokens_is_used_until_the_end_and_then_asks_for_a_login() {
    let harbour = Harbour::shaped(Shape { refresh: Refresh::None, ..Shape::default() }).await;
    let (mut ann, mcp) = harbour.connected("ann").await;
    assert_eq!(harbour.connections().await[0]["refresh_available"], false);
    harbour.authority.expire_access();
    let answer = mcp.call("whoami", json!({})).await;
    assert_eq!(answer["error"]["data"]["error"], "reauth_required", "{answer}");
    assert_eq!(harbour.authority.refreshes(), 0);
    ann.log_in(&link_of(&answer)).await;
    assert_eq!(whoami(&mcp).await["person"], "ann");
}

#[tokio::test]
async fn a_401_is_known_on_every_method_and_folded_into_a_json_rpc_error() {
    let harbour = Harbour::open().await;
    let (ann, mcp) = harbour.connected("ann").await;
    let asks: [(&str, Value); 4] = [
        ("tools/call", json!({"name": "whoami", "arguments": {}})),
        ("resources/read", json!({"uri": "test://safe/note"})),
        ("prompts/get", json!({"name": "greet", "arguments": {"who": "you"}})),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/prompt", "name": "greet"},
            "argument": {"name": "who", "value": "a"}}),
        ),
    ];
    for folded in [false, true] {
        harbour.guard.fold(folded);
        for (method, params) in &asks {
            let before = harbour.authority.refreshes();
            harbour.authority.expire_access();
            let answer = mcp.request(method, params.clone()).await;
            assert!(answer["result"].is_object(), "{method}, folded {folded}: {answer}");
            assert_eq!(harbour.authority.refreshes(), before + 1, "{method}, folded {folded}");
        }
        // And where the first thing that meets it is a new session.
        harbour.authority.expire_access();
        harbour.upstream.forget_sessions();
        let fresh = harbour.mcp(&ann).await;
        assert_eq!(whoami(&fresh).await["person"], "ann", "folded {folded}");
    }
}

#[tokio::test]
async fn no_proxy_of_the_environment_is_used() {
    let mut plan = Gatehouse::plan();
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        plan = plan.env(name, "http://127.0.0.1:1");
    }
    let house = plan.start().await;
    let authority = Authority::start().await;
    let guard = Guard::by(&authority);
    let upstream = Upstream::guarded("safe", &guard).await;
    let admin = house.admin();
    add_with(&admin, "safe", &upstream.url(), &json!({"type": "authorization_code"})).await.expect(201);
    let mut ann = Person::new(&admin, "ann").await;
    let url = house.at("/servers/safe/mcp");
    ann.log_in(&link_at(&url, &ann.key).await).await;
    assert_eq!(whoami(&Mcp::open(&url, &ann.key).await).await["person"], "somebody");
}
