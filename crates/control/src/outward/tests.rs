//! What a way out to addresses that others name must not do.

use store::{Actor, NewTenant, Store};

use super::*;
use crate::fleet::Fleet;
use crate::issuers::tests::idp::Idp;

struct House {
    outward: Outward,
    tenant: TenantId,
    idp: Idp,
    _dir: tempfile::TempDir,
}

async fn house(dev: bool) -> House {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(model::ManualClock::at(1_800_000_000_000_000));
    let url = format!("sqlite://{}?mode=rwc", dir.path().join("db").display());
    let store = Store::connect(&url, clock.clone()).await.unwrap();
    let new = NewTenant::new("acme".parse().unwrap());
    let tenant = store.platform().create_tenant(&Actor::system("test"), new).await.unwrap().value.spec.id;
    let keyring = crate::keyring::tests::keyring(&store, &dir.path().join("kek"), clock.clone());
    let fleet = Fleet::new(store.clone(), keyring, clock);
    let policy = egress::Policy { dev, ..egress::Policy::default() };
    House { outward: Outward::new(Servers::new(store, fleet, policy), dev), tenant, idp: Idp::open().await, _dir: dir }
}

const BOUNDS: Bounds = Bounds { bytes: 100, time: Duration::from_secs(20) };

impl House {
    async fn get(&self, path: &str) -> Result<Bytes, OutwardError> {
        let url = format!("{}{path}", self.idp.base).parse().unwrap();
        self.outward.get(self.tenant, &url, BOUNDS).await
    }
}

#[tokio::test]
async fn three_redirects_are_followed_on_the_same_origin_and_none_to_another() {
    let house = house(true).await;
    let to = |from: &str, to: &str| house.idp.answers(from, "302 Found", &format!("location: {to}\r\n"), "");
    to("/4", "/3");
    to("/3", &format!("{}/2", house.idp.base));
    to("/2", "1");
    to("/1", "/end?x=1");
    house.idp.answers("/end?x=1", "200 OK", "", "{}");
    assert_eq!(house.get("/3").await.unwrap(), "{}");
    assert!(matches!(house.get("/4").await, Err(OutwardError::Redirect)));
    let port = house.idp.base.rsplit(':').next().unwrap().to_owned();
    for elsewhere in
        [format!("http://localhost:{port}/end"), "https://a.example".into(), "data:,x".into(), "//b/".into()]
    {
        to("/away", &elsewhere);
        assert!(matches!(house.get("/away").await, Err(OutwardError::Redirect)), "{elsewhere}");
    }
    house.idp.answers("/away", "302 Found", "", "");
    assert!(matches!(house.get("/away").await, Err(OutwardError::Redirect)));
}

#[tokio::test]
async fn a_long_answer_and_one_that_is_no_success_are_refused() {
    let house = house(true).await;
    house.idp.answers("/long", "200 OK", "", &"x".repeat(101));
    house.idp.answers("/fits", "200 OK", "", &"x".repeat(100));
    assert!(matches!(house.get("/long").await, Err(OutwardError::TooLong(100))));
    assert_eq!(house.get("/fits").await.unwrap().len(), 100);
    assert!(matches!(house.get("/nowhere").await, Err(OutwardError::Status(StatusCode::NOT_FOUND))));
    house.idp.down(true);
    assert!(matches!(house.get("/fits").await, Err(OutwardError::Egress(_))));
    assert_eq!(house.outward.under_way(), 0);
}

#[tokio::test]
async fn a_form_is_posted_once_whatever_comes_back() {
    let house = house(true).await;
    house.idp.answers("/token", "302 Found", "location: /end\r\n", "");
    let url = format!("{}/token", house.idp.base).parse().unwrap();
    let posted = house.outward.post(house.tenant, &url, HeaderMap::new(), "a=b".into(), BOUNDS).await.unwrap();
    assert_eq!(posted, (StatusCode::FOUND, Bytes::new()));
    let heads = house.idp.requests();
    assert_eq!(heads.len(), 1);
    assert!(heads[0].starts_with("POST /token ") && heads[0].contains("application/x-www-form-urlencoded"));
}

#[tokio::test]
async fn a_body_of_any_kind_is_sent_once_with_its_own_headers() {
    let house = house(true).await;
    house.idp.answers("/token", "201 Created", "", "{}");
    let url = format!("{}/token?x=1", house.idp.base).parse().unwrap();
    house.idp.answers("/token?x=1", "201 Created", "", "{}");
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let sent = house.outward.exchange(house.tenant, &url, Method::PUT, headers, "{}".into(), BOUNDS).await.unwrap();
    assert_eq!(sent, (StatusCode::CREATED, Bytes::from("{}")));
    let heads = house.idp.requests();
    assert_eq!(heads.len(), 1);
    let head = heads[0].to_lowercase();
    assert!(heads[0].starts_with("PUT /token?x=1 ") && head.contains("content-type: application/json"), "{head}");
    assert!(head.contains("content-length: 2"), "{head}");
}

#[tokio::test]
async fn plain_http_and_inner_addresses_are_not_asked() {
    let house = house(false).await;
    assert!(matches!(house.get("/x").await, Err(OutwardError::Https)));
    for (url, dev) in [("http://a.example/", true), ("http://10.0.0.1/", true), ("ftp://localhost/", true)] {
        let outward = Outward { dev, ..house.outward.clone() };
        let got = outward.get(house.tenant, &url.parse().unwrap(), BOUNDS).await;
        assert!(matches!(got, Err(OutwardError::Https)), "{url}");
    }
    for url in
        ["https://10.0.0.1/", "https://169.254.169.254/", "https://127.0.0.1/", "https://localhost/", "https://[::1]/"]
    {
        let got = house.outward.get(house.tenant, &url.parse().unwrap(), BOUNDS).await;
        assert!(matches!(got, Err(OutwardError::Egress(EgressError::Blocked(_)))), "{url} {got:?}");
    }
    assert!(house.idp.requests().is_empty());
}

#[tokio::test]
async fn a_tenant_whose_addresses_answer_nothing_holds_up_itself_alone() {
    let house = house(true).await;
    house.idp.answers("/fits", "200 OK", "", "{}");
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("http://{}/", silent.local_addr().unwrap()).parse().unwrap();
    let other = TenantId::fresh();
    let waiting: Vec<_> = (0..2 * AT_ONCE)
        .map(|_| {
            let (outward, url) = (house.outward.clone(), url.clone());
            tokio::spawn(async move { outward.get(other, &url, BOUNDS).await })
        })
        .collect();
    while house.outward.under_way() < OF_ONE_TENANT as u64 {
        tokio::task::yield_now().await;
    }
    assert_eq!(house.get("/fits").await.unwrap(), "{}");
    assert_eq!(house.outward.under_way(), OF_ONE_TENANT as u64);
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    for task in waiting {
        assert!(task.await.is_err());
    }
    assert_eq!(house.get("/fits").await.unwrap(), "{}");
    assert_eq!(house.outward.slots_of(other).available_permits(), OF_ONE_TENANT);
}

#[test]
fn only_https_is_asked_and_loopback_in_dev_mode() {
    for (text, production, dev) in [
        ("https://a.example/x?y=1", true, true),
        ("http://127.0.0.1:9/x", false, true),
        ("http://localhost/x", false, true),
        ("http://a.example/x", false, false),
        ("javascript:alert(1)", false, false),
        ("data:text/html,x", false, false),
        ("file:///etc/passwd", false, false),
        ("cursor://x", false, false),
        ("https://ann@a.example/", false, false),
        ("https://a.example/#x", false, false),
        ("https://a.example/\u{1}", false, false),
        ("//a.example", false, false),
        ("", false, false),
    ] {
        assert_eq!((usable(text, false).is_some(), usable(text, true).is_some()), (production, dev), "{text}");
    }
    assert!(usable(&format!("https://a.example/{}", "x".repeat(MAX_URL)), false).is_none());
}
