//! Off-the-shelf MCP clients sign a person in by browser at our own authorization server. Each knows one URL, and
//! nothing is pasted.

use serde_json::json;
use tests::conformance::Conformance;
use tests::forged;
use tests::mcp_sign_in::{McpRemote, Typescript};
use tests::{Admin, Browser, Gatehouse, Http, eventually};

use crate::oidc::Company;
use crate::people::{PASSWORD, Person, let_in, serve_clients, serve_clients_of, sign_in};
use crate::ways::{knock, mounted, user};

/// A tenant with its own authorization server and a person in it.
struct Town {
    house: Gatehouse,
    admin: Admin,
    _notes: tests::Upstream,
}

impl Town {
    async fn start() -> Self {
        let house = Gatehouse::start().await;
        let admin = house.admin();
        let notes = mounted(&admin, "notes").await;
        serve_clients(&admin).await;
        Self { house, admin, _notes: notes }
    }
}

#[tokio::test]
async fn the_typescript_client_lets_a_person_sign_in_with_a_local_account() {
    let Some(browser) = Browser::start().await else { return };
    let town = Town::start().await;
    let url = town.house.at("/mcp");
    user(&town.admin, "ann", &[]).await;
    let ann = Person::new(&town.admin, &browser, "ann").await;
    let mut client = let_in(&ann, async || Typescript::start(&url).await, &url).await;
    assert!(client.signed_in().await.contains(&"notes__echo".to_owned()));
    assert_eq!(client.call("notes__echo", &json!({"text": "1"})).await.unwrap(), "notes: 1");
    let metadata = client.metadata().await;
    let server = &metadata["authorizationServerMetadata"];
    assert_eq!(server["issuer"], json!(format!("{}/oauth/default", town.house.control())), "{metadata}");
    assert_eq!(server["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(metadata["resourceMetadata"]["resource"], json!(url));

    // The access token is replaced by the client itself.
    let first = client.tokens().await;
    client.spend().await;
    assert_eq!(client.call("notes__echo", &json!({"text": "2"})).await.unwrap(), "notes: 2");
    let second = client.tokens().await;
    assert_ne!(first["refresh_token"], second["refresh_token"], "a refresh token is good once");
    assert_eq!(knock(&url, second["access_token"].as_str().unwrap()).await.status, 200);

    // Whoever comes with the old one has copied it: nobody has anything any more.
    let said = forged::payload(first["access_token"].as_str().unwrap());
    let used = [
        ("grant_type", "refresh_token"),
        ("refresh_token", first["refresh_token"].as_str().unwrap()),
        ("client_id", said["client_id"].as_str().unwrap()),
        ("resource", &url),
    ];
    let body: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(used).finish();
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let at = server["token_endpoint"].as_str().unwrap();
    let refused = Http::default().send("POST", at, &headers, body).await.unwrap().expect(400);
    assert_eq!(refused.json()["error"], "invalid_grant");
    eventually("what was let in is out", || async {
        (knock(&url, second["access_token"].as_str().unwrap()).await.status == 401).then_some(())
    })
    .await;
    assert!(client.call("notes__echo", &json!({"text": "3"})).await.is_err());
}

#[tokio::test]
async fn mcp_remote_lets_a_person_sign_in_with_a_local_account_until_she_takes_it_back() {
    let Some(browser) = Browser::start().await else { return };
    let town = Town::start().await;
    let url = town.house.at("/servers/notes/mcp");
    user(&town.admin, "ann", &[]).await;
    let ann = Person::new(&town.admin, &browser, "ann").await;
    let mut client = let_in(&ann, async || McpRemote::start(&url).await, &url).await;
    client.signed_in().await;
    let call = async |client: &mut McpRemote, text: &str| {
        client.request("tools/call", json!({"name": "echo", "arguments": {"text": text}})).await
    };
    assert_eq!(call(&mut client, "1").await["result"]["content"][0]["text"], "notes: 1");

    ann.page.goto(&format!("{}/account", town.house.control())).await;
    ann.page.shows("MCP CLI Proxy").await;
    ann.page.shoot("account-app").await;
    ann.page.click("Disconnect").await;
    ann.page.shows("No app may call in your name").await;
    let token = client.access_token();
    eventually("the client is out", || async { (knock(&url, &token).await.status == 401).then_some(()) }).await;
}

#[tokio::test]
async fn clients_let_people_sign_in_at_the_companys_issuer_through_ours() {
    let Some(browser) = Browser::start().await else { return };
    let Some(company) = Company::start_with(false).await else { return };
    serve_clients(&company.admin).await;
    let url = company.house.at("/mcp");
    let page = browser.page("ann");
    let (mut client, visit) = McpRemote::start(&url).await;
    page.goto(&visit).await;
    page.click("Sign in with The company").await;
    company.issuer.sign_in(&page, "id-ann").await;
    page.shoot("consent").await;
    page.click("Allow").await;
    client.signed_in().await;
    let called = client.request("tools/call", json!({"name": "desk__echo", "arguments": {"text": "hi"}})).await;
    assert_eq!(called["result"]["content"][0]["text"], "desk: hi", "{called}");

    // She is asked for each client anew, signed in as she is, and may say no.
    let (mut client, visit) = Typescript::start(&url).await;
    page.goto(&visit).await;
    page.shows("A test of Gatehouse").await;
    page.click("Don't allow").await;
    let refused = client.refused().await;
    assert_eq!(refused["error"], "access_denied", "{refused}");
    assert_eq!(refused["iss"], json!(format!("{}/oauth/default", company.house.control())), "{refused}");
    let (mut client, visit) = Typescript::start(&url).await;
    page.goto(&visit).await;
    page.click("Allow").await;
    client.signed_in().await;
    assert_eq!(client.call("desk__echo", &json!({"text": "both"})).await.unwrap(), "desk: both");
}

#[tokio::test]
async fn the_conformance_suite_has_nothing_against_our_authorization_server() {
    let Some(browser) = Browser::start().await else { return };
    let town = Town::start().await;
    let url = town.house.at("/mcp");
    user(&town.admin, "ann", &[]).await;
    let ann = Person::new(&town.admin, &browser, "ann").await;
    let base = format!("{}/oauth/default", town.house.control());
    let suite = async || Conformance::start(&base, &format!("{base}/register"), &url).await;
    let checks = let_in(&ann, suite, &url).await.checks().await;
    assert!(checks.len() >= 3, "{checks:?}");
    for check in checks {
        assert_eq!(check["status"], "SUCCESS", "{check}");
    }
}

#[tokio::test]
async fn who_is_signed_in_to_one_tenant_lets_no_client_into_another() {
    let Some(browser) = Browser::start().await else { return };
    let town = Town::start().await;
    let acme = town.admin.tenant("acme").await;
    let _theirs = mounted(&acme, "theirs").await;
    serve_clients_of(&town.admin, "acme").await;
    user(&town.admin, "ann", &[]).await;
    user(&acme, "ben", &[]).await;
    let ann = Person::new(&town.admin, &browser, "ann").await;
    let ben = Person::new(&acme, &browser, "ben").await;
    let (ours, theirs) = (town.house.at("/mcp"), town.house.at("/t/acme/mcp"));
    let mut client = let_in(&ben, async || Typescript::start(&theirs).await, &theirs).await;
    assert!(client.signed_in().await.contains(&"theirs__echo".to_owned()));
    assert_eq!(client.call("theirs__echo", &json!({"text": "1"})).await.unwrap(), "theirs: 1");
    let token = client.tokens().await["access_token"].as_str().unwrap().to_owned();
    for elsewhere in [&ours, &town.house.at("/t/default/mcp"), &town.house.at("/t/acme/servers/theirs/mcp")] {
        assert_eq!(knock(elsewhere, &token).await.status, 401, "{elsewhere}");
    }

    // Ann is signed in where she belongs, and is asked who she is in the other tenant.
    let page = &ann.page;
    page.goto(&format!("{}/signin", town.house.control())).await;
    sign_in(page, "ann", PASSWORD).await;
    let (_client, visit) = Typescript::start(&theirs).await;
    page.goto(&visit).await;
    page.at(&format!("{}/signin", town.house.control())).await;
    sign_in(page, "ann", PASSWORD).await;
    page.shows("don't belong together").await;
    // Nor does the other tenant's server give out what is for this one.
    let swapped = visit.replace(&encoded(&theirs), &encoded(&ours));
    assert_ne!(swapped, visit);
    let page = &ben.page;
    page.goto(&swapped).await;
    assert!(!page.look().await["buttons"].to_string().contains("Allow"), "{}", page.text().await);
}

/// As it stands in a query.
fn encoded(url: &str) -> String {
    url::form_urlencoded::byte_serialize(url.as_bytes()).collect()
}
