//! A company's own issuer, `oidc-provider` as it is installed: what its tokens open, and what becomes of that when it
//! changes its keys or is gone.

use serde_json::{Value, json};
use tests::forged::forgeries;
use tests::mcp_sign_in::Typescript;
use tests::{Admin, Answer, Browser, Gatehouse, Issuer, Mcp, Upstream, eventually};

use crate::ways::{knock, mounted, user};

/// The console as the issuer knows it.
const CONSOLE: &str = "gatehouse";
const SECRET: &str = "a secret that only control and the issuer know";

/// A house whose tenant `default` trusts an issuer with three accounts. Cleo has no departments there and is known by
/// her login alone; Dora has an account and is nobody here.
pub(crate) struct Company {
    pub(crate) house: Gatehouse,
    pub(crate) admin: Admin,
    pub(crate) issuer: Issuer,
    desk: Upstream,
}

impl Company {
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(true).await
    }

    /// The same, whose issuer MCP clients are told of or not.
    pub(crate) async fn start_with(mcp: bool) -> Option<Self> {
        let accounts = json!({
            "id-ann": {"preferred_username": "ann", "groups": ["sales", "ops"], "email": "ann@example.com"},
            "id-cleo": {"preferred_username": "cleo"},
            "id-dora": {"preferred_username": "dora", "groups": ["sales"]},
        });
        let mut issuer = Issuer::start(&accounts).await?;
        let house = Gatehouse::start().await;
        let admin = house.admin();
        let desk = mounted(&admin, "desk").await;
        for (login, departments) in [("ann", &["sales", "ops"][..]), ("cleo", &[])] {
            user(&admin, login, departments).await;
        }
        issuer.client(CONSOLE, SECRET, &format!("{}/signin/callback", house.control())).await;
        trust(&admin, issuer.url(), mcp).await.expect(201);
        Some(Self { house, admin, issuer, desk })
    }

    async fn token(&mut self, account: &str) -> String {
        self.issuer.token(account, &self.house.at("/mcp")).await
    }

    /// Ends the house, and starts it again so many seconds later by its own clock.
    pub(crate) async fn later(&mut self, secs: u32) {
        self.house.end().await;
        self.house = self.house.again().env("GATEHOUSE_CLOCK_OFFSET", &secs.to_string()).start().await;
    }

    /// Waits until a token is answered like this.
    async fn until(&self, what: &str, token: &str, status: u16) {
        let url = self.house.at("/mcp");
        eventually(what, || async { (knock(&url, token).await.status == status).then_some(()) }).await;
    }
}

/// Makes an issuer the tenant's, for the console and, with `mcp`, for MCP clients.
pub(crate) async fn trust(admin: &Admin, url: &str, mcp: bool) -> Answer {
    let claims = json!({"login": "preferred_username", "external_id": "sub", "departments": "groups"});
    let body = json!({"name": "company", "title": "The company", "issuer": url, "claims": claims, "mcp": mcp, "scope": "mcp",
        "sign_in": true, "client_id": CONSOLE, "client_secret": SECRET});
    admin.post("/api/v1/issuers", &body).await
}

#[tokio::test]
async fn an_mcp_client_signs_a_person_in_at_the_companys_issuer() {
    let Some(browser) = Browser::start().await else { return };
    let Some(company) = Company::start().await else { return };
    let (mut client, visit) = Typescript::start(&company.house.at("/mcp")).await;
    assert!(visit.starts_with(company.issuer.url()), "{visit}");
    let page = browser.page("ann");
    page.goto(&visit).await;
    company.issuer.sign_in(&page, "id-ann").await;
    assert!(client.signed_in().await.contains(&"desk__echo".to_owned()));
    assert_eq!(client.call("desk__echo", &json!({"text": "hi"})).await.unwrap(), "desk: hi");
    assert_eq!(company.desk.calls("hi"), 1);
}

#[tokio::test]
async fn tokens_of_the_issuer_open_what_they_are_for_and_nothing_else() {
    let Some(mut company) = Company::start().await else { return };
    let url = company.house.at("/mcp");
    let (ann, cleo) = (company.token("id-ann").await, company.token("id-cleo").await);
    company.until("a person of two departments is served", &ann, 200).await;
    company.until("a person without a department is served", &cleo, 200).await;
    let mcp = Mcp::open(&url, &ann).await;
    assert_eq!(mcp.text("desk__echo", json!({"text": "1"})).await, "desk: 1");
    let list = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list"});
    assert_eq!(mcp.stolen_by(&cleo).post(&list).await.unwrap().status, 404);

    let desk = company.house.at("/servers/desk/mcp");
    for (why, resource) in [
        ("for another server", desk.clone()),
        ("for another host", "https://elsewhere.example/mcp".to_owned()),
        ("for another port", "http://127.0.0.1:1/mcp".to_owned()),
        ("for the whole proxy", company.house.proxy()),
        ("for a longer path", format!("{url}/more")),
        ("for control", company.house.control().to_owned()),
    ] {
        let token = company.issuer.token("id-ann", &resource).await;
        let refused = knock(&url, &token).await;
        assert_eq!(refused.status, 401, "{why}: {}", refused.text());
        assert!(refused.header("www-authenticate").contains("error=\"invalid_token\""), "{why}: {:?}", refused.headers);
    }
    assert_eq!(knock(&desk, &ann).await.status, 401);
    let narrow = company.issuer.token_with("id-ann", &url, "other").await;
    let refused = knock(&url, &narrow).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.header("www-authenticate").contains("error=\"insufficient_scope\""), "{:?}", refused.headers);
    let stranger = company.token("id-dora").await;
    assert_eq!(knock(&url, &stranger).await.status, 401, "an account is no user");
    for (how, forged) in forgeries(&ann) {
        let refused = knock(&url, &forged).await;
        assert!([401, 431].contains(&refused.status.as_u16()), "{how}: {} {}", refused.status, refused.text());
    }
    assert_eq!(company.admin.with_key(&ann).get("/api/v1/me").await.status, 401, "control takes no token");

    // Another tenant that trusts the same issuer gets none of its people on paths that name no tenant, and they are not its users.
    let acme = company.admin.tenant("acme").await;
    trust(&acme, company.issuer.url(), true).await.expect(201);
    let url = company.house.at("/t/acme/mcp");
    let foreign = company.issuer.token("id-ann", &url).await;
    assert!([401, 404].contains(&knock(&url, &foreign).await.status.as_u16()));
    user(&acme, "ann", &[]).await;
    company.until("tokens open the tenant that is meant without a path", &ann, 200).await;
    eventually("a user of both tenants is served by both", || async {
        (knock(&url, &foreign).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(knock(&company.house.at("/t/acme/mcp"), &ann).await.status, 401);
}

#[tokio::test]
async fn the_issuer_changes_its_keys_and_nobody_is_told() {
    let Some(mut company) = Company::start().await else { return };
    let old = company.token("id-ann").await;
    company.until("the first key", &old, 200).await;
    // An issuer that was asked a moment ago is not asked again.
    company.later(120).await;
    company.issuer.rotate(true).await;
    let new = company.token("id-ann").await;
    company.until("a token of the new key is served as soon as the new key is fetched", &new, 200).await;
    company.until("tokens of the old key stay good while it is published", &old, 200).await;

    // Made-up keys lead to no more questions than there may be.
    let before = company.issuer.asked("/jwks").await;
    for number in 0..200 {
        let made_up = tests::forged::altered(&new, |head, _| head["kid"] = json!(format!("made-up-{number}")));
        assert_eq!(knock(&company.house.at("/mcp"), &made_up).await.status, 401);
    }
    let asked = company.issuer.asked("/jwks").await - before;
    assert!(asked <= 2, "200 unknown keys led to {asked} questions");

    company.issuer.rotate(false).await;
    let record = company.admin.post("/api/v1/issuers/company/refresh", &Value::Null).await;
    assert!(record.status.is_success(), "{}", record.text());
    company.until("a key that is not published any more is refused", &old, 401).await;
    let newest = company.token("id-ann").await;
    company.until("and the newest is not", &newest, 200).await;
}

#[tokio::test]
async fn an_issuer_that_is_down_is_believed_for_a_day_and_no_longer() {
    let Some(mut company) = Company::start().await else { return };
    let token = company.token("id-ann").await;
    company.until("while it is there", &token, 200).await;
    company.issuer.away().await;
    company.later(3600).await;
    company.until("an hour later", &token, 200).await;
    let mcp = Mcp::open(&company.house.at("/mcp"), &token).await;
    assert_eq!(mcp.text("desk__echo", json!({"text": "an hour"})).await, "desk: an hour");
    company.later(25 * 3600).await;
    let key = company.house.client_key().to_owned();
    company.until("keys are not concerned", &key, 200).await;
    company.until("a day and an hour later", &token, 401).await;
    let record = company.house.admin().get("/api/v1/issuers/company").await.expect(200).json();
    assert!(record["failure"].is_string(), "an admin is told: {record}");
    company.issuer.back().await;
    let refreshed = company.house.admin().post("/api/v1/issuers/company/refresh", &Value::Null).await;
    assert!(refreshed.status.is_success(), "{}", refreshed.text());
    company.until("and when it is back", &token, 200).await;
}
