//! Every way to be nobody, on every path, with every method: none ends in an answer, none in another identity.

use identity::{Audience, Claims};
use model::{
    GrantId, IssuerSpec, KeyRole, KeyScopes, KeyText, KeyVerifier, Resource, ResourceName, RevokedGrant, SignerSpec,
    TenantId, TenantSpec, UserId, UserSpec,
};
use serde_json::{Value, json};
use tests::mcp::REVISION;
use tests::{Http, Mcp, Upstream};

use crate::house::{House, Key, MORNING, server, tenant};
use crate::papers::{Issuing, NOW, Signing, altered, body, hs256, read, user};

/// What everybody may ask for, what only callers may, and what is not there.
const MCP: [&str; 11] = [
    "/mcp",
    "/mcp/",
    "/servers/notes/mcp",
    "/servers/none/mcp",
    "/servers/gatehouse/mcp",
    "/t/acme/mcp",
    "/t/acme/servers/notes/mcp",
    "/t/acme/servers/none/mcp",
    "/t/acme/servers/gatehouse/mcp",
    "/t/other/mcp",
    "/t/nobody/mcp",
];
const INTERNAL: [&str; 4] =
    ["/healthcheck?mcp_url=http://127.0.0.1:9/mcp", "/list-remote-proxies", "/add-remote-proxies", "/remote-proxies"];
const OPEN: [&str; 3] = [
    "/.well-known/oauth-protected-resource/t/acme/mcp",
    "/.well-known/oauth-protected-resource/t/acme/servers/notes/mcp",
    "/.well-known/oauth-protected-resource/t/acme/servers/none/mcp",
];
/// The doors of HTTP+SSE, and a toolset's, which are judged like any other of MCP.
const DOORS: [&str; 6] = [
    "/sse",
    "/servers/notes/sse",
    "/t/acme/sse",
    "/message?sessionId=x",
    "/servers/notes/message?sessionId=x",
    "/toolsets/none/mcp",
];
const NOWHERE: [&str; 12] = [
    "/",
    "/t/acme",
    "/t/acme/healthcheck",
    "/mcp/mcp",
    "/MCP",
    "//mcp",
    "/servers/notes",
    "/metrics",
    "/api/v1/servers",
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-authorization-server/oauth/acme",
    "/.well-known/openid-configuration",
];
const METHODS: [&str; 8] = ["GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS", "PURGE"];

/// Headers that other gateways believe.
const BELIEVED: [(&str, &str); 32] = [
    ("x-forwarded-user", "ann"),
    ("x-forwarded-email", "ann@acme.example"),
    ("x-forwarded-groups", "admin"),
    ("x-forwarded-preferred-username", "ann"),
    ("x-forwarded-access-token", "token"),
    ("x-forwarded-for", "127.0.0.1"),
    ("x-forwarded-host", "127.0.0.1"),
    ("x-real-ip", "127.0.0.1"),
    ("x-remote-user", "ann"),
    ("remote-user", "ann"),
    ("x-user", "ann"),
    ("x-user-id", "1"),
    ("x-user-name", "ann"),
    ("x-user-role", "platform_admin"),
    ("x-username", "ann"),
    ("x-email", "ann@acme.example"),
    ("x-auth-request-user", "ann"),
    ("x-authenticated-user", "ann"),
    ("x-authenticated-userid", "1"),
    ("x-webauth-user", "ann"),
    ("x-consumer-username", "ann"),
    ("x-tenant-id", "00000000-0000-0000-0000-000000000001"),
    ("x-org-id", "acme"),
    ("x-internal-request", "true"),
    ("x-ms-client-principal", "eyJ1c2VySWQiOiJhbm4ifQ"),
    ("x-goog-authenticated-user-email", "accounts.google.com:ann@acme.example"),
    ("x-amzn-oidc-identity", "ann"),
    ("x-original-url", "/livez"),
    ("gatehouse-user", "ann"),
    ("gatehouse-tenant", "acme"),
    ("x-gatehouse-user", "ann"),
    ("x-gatehouse-principal", "platform_admin"),
];

/// What somebody shows who may not come in.
struct Failure {
    name: &'static str,
    authorization: Vec<String>,
    /// Headers and a query beside it.
    headers: Vec<(&'static str, String)>,
    query: Option<String>,
    /// What comes of it on an MCP path, and on an internal one.
    on_mcp: fn(&str) -> u16,
    on_internal: u16,
}

/// Most are nobody anywhere.
fn refused(_: &str) -> u16 {
    401
}

fn forbidden(_: &str) -> u16 {
    403
}

fn is_of_another_tenant(path: &str) -> bool {
    path.starts_with("/t/") && !path.starts_with("/t/acme/")
}

/// A good key that may not call: another tenant looks absent to it.
fn key_may_not(path: &str) -> u16 {
    if is_of_another_tenant(path) { 404 } else { 403 }
}

/// A good token that may not call: it is not for another tenant.
fn token_may_not(path: &str) -> u16 {
    if is_of_another_tenant(path) { 401 } else { 403 }
}

/// The same of an issuer, who is nobody where its tenant is not named.
fn issued_may_not(path: &str) -> u16 {
    if path.starts_with("/t/acme/") { 403 } else { 401 }
}

fn shows(name: &'static str, bearer: &str) -> Failure {
    let authorization = vec![format!("Bearer {bearer}")];
    Failure { name, authorization, headers: vec![], query: None, on_mcp: refused, on_internal: 401 }
}

fn says(name: &'static str, authorization: &[&str]) -> Failure {
    let authorization = authorization.iter().map(|value| (*value).to_owned()).collect();
    Failure { authorization, ..shows(name, "") }
}

fn in_header(name: &'static str, header: &'static str, value: &str) -> Failure {
    Failure { headers: vec![(header, value.to_owned())], ..says(name, &[]) }
}

fn in_query(name: &'static str, query: String) -> Failure {
    Failure { query: Some(query), ..says(name, &[]) }
}

/// The table of one house: whom it knows, and everything that is not enough.
struct Table {
    failures: Vec<Failure>,
    /// A key and tokens that are good, of which the others differ in one thing.
    good: Vec<(&'static str, String)>,
}

/// A key of the house with other fields.
fn key_with(house: &House, change: impl FnOnce(&mut KeyVerifier)) -> Key {
    let Key { text, mut verifier } = house.key(KeyRole::User);
    change(&mut verifier);
    house.put([Resource::Key(verifier.clone())]);
    Key { text, verifier }
}

fn by_keys(house: &House, failures: &mut Vec<Failure>) -> String {
    let key = house.key(KeyRole::User);
    let good = key.text.as_str();
    let mut mistyped = good.to_owned();
    let at = good.len() - 8;
    mistyped.replace_range(at..=at, if &good[at..=at] == "a" { "b" } else { "a" });
    let unknown = KeyText::mint("test", [3; 16], [4; 32]).expose().expose().to_owned();
    let wrong_secret = {
        let id: [u8; 16] = [8; 16];
        let (known, shown) = (KeyText::mint("test", id, [1; 32]), KeyText::mint("test", id, [2; 32]));
        let verifier = KeyVerifier { id: known.id(), sha256: known.sha256(), ..key.verifier.clone() };
        house.put([Resource::Key(verifier)]);
        shown.expose().expose().to_owned()
    };
    let revoked = house.key(KeyRole::User);
    house.remove([ResourceName::Key(revoked.verifier.id)]);
    let expired = key_with(house, |key| key.expires_at = Some(MORNING));
    let other_tenant = TenantSpec { id: TenantId::fresh(), name: "other".parse().unwrap(), ..tenant() };
    house.put([Resource::Tenant(other_tenant)]);
    let viewer = house.key(KeyRole::Viewer);
    let rest_only = key_with(house, |key| key.scopes = KeyScopes { mcp: false, ..KeyScopes::PLAIN });
    let bearer = format!("Bearer {good}");
    failures.extend([
        says("nothing", &[]),
        says("empty", &[""]),
        says("no scheme", &[good]),
        says("scheme alone", &["Bearer"]),
        says("no bearer", &["Bearer "]),
        says("only spaces", &["Bearer    "]),
        says("basic", &["Basic Z2hrOmdoaw=="]),
        says("basic with a key", &[&format!("Basic {good}")]),
        says("token scheme", &[&format!("Token {good}")]),
        says("a tab", &[&format!("Bearer\t{good}")]),
        says("two of the same", &[&bearer, &bearer]),
        says("a good one and nonsense", &[&bearer, "Bearer nonsense"]),
        says("nonsense and a good one", &["Basic Z2hr", &bearer]),
        says("two in one", &[&format!("{bearer}, {bearer}")]),
        says("two words", &[&format!("Bearer {good} {good}")]),
        shows("nonsense", "nonsense"),
        shows("bad checksum", &mistyped),
        shows("cut", &good[..good.len() - 1]),
        shows("capital letters", &good.replacen("ghk_", "GHK_", 1)),
        shows("unknown key", &unknown),
        shows("wrong secret", &wrong_secret),
        shows("revoked key", &revoked.text),
        shows("expired key", &expired.text),
        shows("a key that looks like a token", &format!("{good}.e30.c2ln")),
        shows("a token with the beginning of a key", "ghk_eyJhbGciOiJub25lIn0.e30.c2ln"),
        Failure { on_mcp: key_may_not, on_internal: 403, ..shows("viewer's key", &viewer.text) },
        Failure { on_mcp: forbidden, on_internal: 403, ..shows("key without the scope", &rest_only.text) },
        in_header("key in X-Api-Key", "x-api-key", good),
        in_header("key in Proxy-Authorization", "proxy-authorization", &bearer),
        in_header("key in X-Authorization", "x-authorization", &bearer),
        in_header("key in a cookie", "cookie", &format!("token={good}; __Host-gatehouse={good}")),
        in_query("key in the query", format!("access_token={good}")),
        in_query("key under another name", format!("x={good}")),
    ]);
    key.text
}

fn by_tokens_of_control(house: &House, failures: &mut Vec<Failure>) -> Vec<String> {
    let (signing, stranger) = (Signing::new(), Signing::new());
    let ended = Signing::new();
    let gone = Signing::new();
    house.put([signing.resource(), gone.resource()]);
    house.put([Resource::Signer(SignerSpec { until: MORNING, ..ended.spec.clone() })]);
    house.remove([gone.resource().name()]);
    let ann = user("ann");
    let inactive = UserSpec { active: false, ..user("gone") };
    let viewer = UserSpec { role: KeyRole::Viewer, ..user("view") };
    let other = TenantSpec { id: TenantId::fresh(), name: "beta".parse().unwrap(), ..tenant() };
    let foreign = UserSpec { tenant: other.id, ..user("foreign") };
    house.put([&ann, &inactive, &viewer].map(|user| Resource::User(user.clone())));
    house.put([Resource::Tenant(other.clone()), Resource::User(foreign.clone())]);
    let acts = |key: &mut KeyVerifier| key.scopes = KeyScopes { act_as: true, ..KeyScopes::PLAIN };
    let key = key_with(house, acts);
    let plain = house.key(KeyRole::User);
    let expired = key_with(house, |key| {
        acts(key);
        key.expires_at = Some(MORNING);
    });
    let revoked = key_with(house, acts);
    house.remove([ResourceName::Key(revoked.verifier.id)]);
    let of_other = key_with(house, |key| {
        acts(key);
        key.tenant = other.id;
    });
    let desk = server("desk", "http://127.0.0.1:9/mcp");
    house.mount(&desk);
    let (grant, revoked_grant) = (GrantId::fresh(), GrantId::fresh());
    house.put([Resource::Revoked(RevokedGrant { id: revoked_grant, tenant: tenant().id })]);
    let claims = signing.on_behalf(key.verifier.id, &ann);
    let good = signing.sign(&claims);
    let token = |change: &dyn Fn(&mut Claims)| {
        let mut claims = claims.clone();
        change(&mut claims);
        signing.sign(&claims)
    };
    let by = |key: &Key| signing.sign(&signing.on_behalf(key.verifier.id, &ann));
    let for_user = |user: &UserSpec| signing.sign(&signing.on_behalf(key.verifier.id, user));
    let (head, payload) = read(&good);
    let plus = |name: &str, value: Value| {
        altered(&good, |_, claims| {
            claims.as_object_mut().unwrap().insert(name.to_owned(), value);
        })
    };
    let none = json!({"alg": "none", "typ": "at+jwt", "kid": head["kid"]});
    let mac = json!({"alg": "HS256", "typ": "at+jwt", "kid": head["kid"]});
    failures.extend([
        shows("alg none", &format!("{}.", body(&none, &payload))),
        shows("alg none with a signature", &altered(&good, |head, _| head["alg"] = json!("none"))),
        shows("HS256 with the public key", &hs256(&mac, &payload, &signing.spec.public)),
        shows("another alg on the head", &altered(&good, |head, _| head["alg"] = json!("ES256"))),
        shows("no signature", &format!("{}.", good.rsplit_once('.').unwrap().0)),
        shows("two parts", good.rsplit_once('.').unwrap().0),
        shows("five parts", &format!("{good}.e30.c2ln")),
        shows("a byte of the signature", &{
            let mut text = good.clone().into_bytes();
            let at = text.len() - 20;
            text[at] = if text[at] == b'A' { b'B' } else { b'A' };
            String::from_utf8(text).unwrap()
        }),
        shows("padding", &format!("{good}=")),
        shows("another user put in", &plus("sub", json!(viewer.id.to_string()))),
        shows("another end put in", &plus("exp", json!(NOW + 800))),
        shows("a role put in", &plus("role", json!("platform_admin"))),
        shows("a key in the head", &altered(&good, |head, _| head["jwk"] = json!({"kty": "OKP"}))),
        shows("critical head", &altered(&good, |head, _| head["crit"] = json!(["x"]))),
        shows("token of another instance", &stranger.sign(&claims)),
        shows(
            "another instance under our kid",
            &altered(&stranger.sign(&claims), |head, _| {
                head["kid"] = json!(signing.spec.id.to_string());
            }),
        ),
        shows("signer that has ended", &ended.sign(&claims)),
        shows("signer that is gone", &gone.sign(&claims)),
        shows("expired token", &token(&|claims| (claims.issued_at, claims.expires_at) = (NOW - 400, NOW - 100))),
        shows("ends now", &token(&|claims| (claims.issued_at, claims.expires_at) = (NOW - 300, NOW))),
        shows(
            "made in the future",
            &token(&|claims| {
                (claims.issued_at, claims.expires_at) = (NOW + 200, NOW + 400);
            }),
        ),
        shows("lives too long", &token(&|claims| claims.expires_at = NOW + 100_000)),
        shows("for another tenant", &token(&|claims| claims.audience = Audience::Tenant(other.id))),
        shows("for another server", &token(&|claims| claims.audience = Audience::Server(desk.id))),
        shows(
            "for another URL",
            &token(&|claims| {
                claims.audience = Audience::Url("https://other.example/mcp".to_owned());
            }),
        ),
        shows("says another tenant", &token(&|claims| claims.tenant = other.id)),
        shows("says a tenant that is not there", &token(&|claims| claims.tenant = TenantId::fresh())),
        shows("user inactive", &for_user(&inactive)),
        shows("user unknown", &for_user(&UserSpec { id: UserId::fresh(), ..ann.clone() })),
        shows("user of another tenant", &token(&|claims| claims.user = foreign.id)),
        shows("acting key without the scope", &by(&plain)),
        shows("acting key expired", &by(&expired)),
        shows("acting key revoked", &by(&revoked)),
        shows("acting key of another tenant", &by(&of_other)),
        shows("grant revoked", &signing.sign(&signing.granted(revoked_grant, &ann))),
        Failure { on_mcp: token_may_not, ..shows("user who is a viewer", &for_user(&viewer)) },
        in_query("token in the query", format!("access_token={good}")),
        in_query("token under another name", format!("x={good}")),
        in_header("token in X-Forwarded-Access-Token", "x-forwarded-access-token", &good),
    ]);
    vec![good, signing.sign(&signing.granted(grant, &ann))]
}

fn by_tokens_of_issuers(house: &House, failures: &mut Vec<Failure>) -> Vec<String> {
    let audience = "api://gatehouse";
    let [issuing, stranger, mut stale, mut not_mcp, mut scoped, unregistered, less] =
        ["id", "id", "stale", "rest", "scoped", "nobody", "es"].map(|name| {
            let mut issuing = Issuing::new(&format!("https://{name}.example"));
            issuing.spec.audiences = vec![audience.to_owned()];
            issuing
        });
    stale.spec.keys_until = MORNING;
    not_mcp.spec.mcp = false;
    scoped.spec.scope = Some("other".to_owned());
    let only_ed = IssuerSpec { algorithms: vec![model::SigningAlgorithm::EdDsa], ..less.spec.clone() };
    for issuing in [&issuing, &stale, &not_mcp, &scoped] {
        house.put([issuing.resource()]);
    }
    house.put([Resource::Issuer(only_ed), Resource::User(user("ann"))]);
    house.put([Resource::User(UserSpec { active: false, ..user("gone") })]);
    let claims = issuing.claims("ann", audience);
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().insert(name.to_owned(), value);
        issuing.sign(&claims)
    };
    let without = |name: &str| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().remove(name);
        issuing.sign(&claims)
    };
    let head = |head: Value| issuing.sign_as(&head, &claims);
    let mac = json!({"alg": "HS256", "typ": "at+jwt", "kid": "one"});
    let none = json!({"alg": "none", "typ": "at+jwt", "kid": "one"});
    let good = issuing.sign(&claims);
    failures.extend([
        shows("issuer: alg none", &format!("{}.", body(&none, &claims))),
        shows("issuer: HS256 with the public key", &hs256(&mac, &claims, issuing.public())),
        shows("issuer: HS256 with the key set", &hs256(&mac, &claims, issuing.spec.keys.as_bytes())),
        shows("issuer: HS256 with nothing", &hs256(&mac, &claims, b"")),
        shows("issuer: RS256 on the head", &head(json!({"alg": "RS256", "typ": "at+jwt", "kid": "one"}))),
        shows("issuer: algorithm not allowed", &less.sign(&less.claims("ann", audience))),
        shows("issuer: another key under the same kid", &stranger.sign(&claims)),
        shows("issuer: unknown kid", &head(json!({"alg": "ES256", "typ": "at+jwt", "kid": "two"}))),
        shows("issuer: critical head", &head(json!({"alg": "ES256", "kid": "one", "crit": ["b64"], "b64": false}))),
        shows("issuer: another type", &head(json!({"alg": "ES256", "kid": "one", "typ": "logout+jwt"}))),
        shows("issuer: an ID token", &{
            let mut claims = claims.clone();
            claims["nonce"] = json!("n");
            issuing.sign_as(&json!({"alg": "ES256", "typ": "JWT", "kid": "one"}), &claims)
        }),
        shows("issuer: wrong audience", &with("aud", json!("https://other.example/mcp"))),
        shows("issuer: no audience", &without("aud")),
        shows("issuer: unknown issuer", &unregistered.sign(&unregistered.claims("ann", audience))),
        shows("issuer: another issuer's name", &with("iss", json!("https://nobody.example"))),
        shows("issuer: a slash more", &with("iss", json!("https://id.example/"))),
        shows("issuer: ours", &with("iss", json!("urn:gatehouse"))),
        shows("issuer: no issuer", &without("iss")),
        shows("issuer: expired", &with("exp", json!(NOW - 61))),
        shows("issuer: no end", &without("exp")),
        shows("issuer: an end in words", &with("exp", json!("never"))),
        shows("issuer: nbf in the future", &with("nbf", json!(NOW + 61))),
        shows("issuer: nobody", &without("sub")),
        shows("issuer: unknown user", &with("sub", json!("idp|nobody"))),
        shows("issuer: login of somebody else", &with("sub", json!("idp|eve"))),
        shows("issuer: user inactive", &issuing.sign(&issuing.claims("gone", audience))),
        shows("issuer: keys too old", &stale.sign(&stale.claims("ann", audience))),
        shows("issuer: not for MCP clients", &not_mcp.sign(&not_mcp.claims("ann", audience))),
        shows("issuer: altered", &altered(&good, |_, claims| claims["sub"] = json!("idp|gone"))),
        shows("issuer: oversized", &with("padding", json!("x".repeat(9 << 10)))),
        Failure {
            on_mcp: issued_may_not,
            ..shows("issuer: without the scope", &scoped.sign(&scoped.claims("ann", audience)))
        },
        Failure { on_mcp: issued_may_not, ..shows("issuer: a viewer", &with("role", json!("reader"))) },
    ]);
    vec![good]
}

fn table(house: &House) -> Table {
    let mut failures = Vec::new();
    let mut good = vec![("key", by_keys(house, &mut failures))];
    good.extend(by_tokens_of_control(house, &mut failures).into_iter().map(|token| ("token", token)));
    good.extend(by_tokens_of_issuers(house, &mut failures).into_iter().map(|token| ("issuer's token", token)));
    Table { failures, good }
}

/// Sends one request of the table: its status, and what came with it.
async fn send(http: &Http, method: &str, url: &str, failure: &Failure, beside: &[(&str, &str)]) -> tests::Answer {
    let mut headers = tests::mcp::POST.to_vec();
    headers.extend(failure.authorization.iter().map(|value| ("authorization", value.as_str())));
    headers.extend(failure.headers.iter().map(|(name, value)| (*name, value.as_str())));
    headers.extend(beside);
    let url = match &failure.query {
        Some(query) => format!("{url}{}{query}", if url.contains('?') { '&' } else { '?' }),
        None => url.to_owned(),
    };
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": REVISION,
        "capabilities": {}, "clientInfo": {"name": "tests", "version": "1"}}});
    http.send(method, &url, &headers, call.to_string())
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", failure.name))
}

/// Paths, the methods that are tried on them, and what comes of it.
type Paths<'a> = (&'a [&'a str], &'a [&'a str], &'a dyn Fn(&str) -> u16);

#[tokio::test]
async fn nobody_comes_in_anywhere_and_everybody_sees_what_is_for_all() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.put([Resource::Tenant(TenantSpec { authorization_server: true, ..tenant() })]);
    house.mount(&server("notes", &upstream.url()));
    let Table { failures, good } = table(&house);
    assert!(failures.len() > 90, "{}", failures.len());
    // What the failures differ from does come in.
    for (name, bearer) in &good {
        let opened = Mcp::try_open(&house.at("/t/acme/mcp"), bearer, REVISION).await;
        assert!(opened.is_ok(), "{name}: {:?}", opened.err());
    }
    let (http, mut cells) = (Http::default(), 0);
    let (dials, sessions) = (house.street.dials(), upstream.sessions());
    for failure in &failures {
        let secret = failure.authorization.first().and_then(|value| value.split_once(' ')).map_or("", |(_, text)| text);
        let internal = |_: &str| failure.on_internal;
        let cases: [Paths<'_>; 5] = [
            (&MCP, &METHODS, &failure.on_mcp),
            (&DOORS, &METHODS, &failure.on_mcp),
            (&INTERNAL, &METHODS, &internal),
            (&NOWHERE, &METHODS[..3], &|_| 404),
            (&OPEN, &METHODS[..3], &|_| 200),
        ];
        for (paths, methods, expected) in cases {
            for (path, method) in paths.iter().flat_map(|path| methods.iter().map(move |method| (path, method))) {
                let answer = send(&http, method, &house.at(path), failure, &[]).await;
                let expected = match expected(path) {
                    _ if failure.query.is_some() => 400,
                    200 if *method != "GET" => 405,
                    expected => expected,
                };
                let cell = format!("{}: {method} {path}: {}", failure.name, answer.text());
                assert_eq!(answer.status.as_u16(), expected, "{cell}");
                assert!(secret.len() < 12 || !answer.text().contains(secret), "{cell}");
                assert_eq!(answer.header("mcp-session-id"), "", "{cell}");
                if expected == 401 {
                    assert!(answer.header("www-authenticate").starts_with("Bearer"), "{cell}");
                }
                cells += 1;
            }
        }
    }
    assert_eq!(cells, failures.len() * (21 * 8 + 15 * 3));
    assert_eq!((house.street.dials(), upstream.sessions()), (dials, sessions), "nothing of it went anywhere");
}

/// Everything on this listener that answers who shows nothing, and why it may.
const ANSWERS_ANYBODY: [(&str, &str); 5] = [
    ("/livez", "whoever restarts the process must know whether it hangs"),
    ("/readyz", "balancers must know whether to send clients here"),
    ("/.well-known/oauth-protected-resource/mcp", METADATA),
    ("/.well-known/oauth-protected-resource/t/acme/mcp", METADATA),
    ("/.well-known/oauth-protected-resource/t/acme/servers/notes/mcp", METADATA),
];
const METADATA: &str = "clients who can't come in yet must learn where to sign in; says nothing of what is mounted";

/// Paths of all words that mean something in one, in any order, and further ones that mean something.
fn all_paths() -> Vec<String> {
    const WORDS: [&str; 16] = [
        "mcp",
        "sse",
        "messages",
        "servers",
        "toolsets",
        "notes",
        "gatehouse",
        "t",
        "acme",
        "livez",
        "readyz",
        "metrics",
        "healthcheck",
        "list-remote-proxies",
        ".well-known",
        "oauth-protected-resource",
    ];
    let mut paths = vec![String::new()];
    let mut longest = paths.clone();
    for _ in 0..3 {
        longest = longest.iter().flat_map(|path| WORDS.iter().map(move |word| format!("{path}/{word}"))).collect();
        paths.extend(longest.iter().cloned());
    }
    let of_mcp = longest.iter().chain(&paths).filter(|path| path.ends_with("/mcp")).cloned();
    let known = MCP.iter().chain(&INTERNAL).chain(&OPEN).chain(&DOORS).chain(&NOWHERE).map(|path| (*path).to_owned());
    let listed = ANSWERS_ANYBODY.iter().map(|(path, _)| (*path).to_owned());
    let deeper: Vec<_> =
        of_mcp.flat_map(|path| ["/t/acme", "/servers/notes"].map(|before| format!("{before}{path}"))).collect();
    paths.extend(known.chain(listed).chain(deeper));
    paths.retain(|path| path.starts_with('/'));
    paths.sort();
    paths.dedup();
    paths
}

#[tokio::test]
async fn what_answers_without_an_identity_is_listed() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    // Somebody could sign in, on paths with a tenant and without.
    let first = TenantSpec { id: TenantId::fresh(), name: "default".parse().unwrap(), ..tenant() };
    house.put([tenant(), first].map(|spec| Resource::Tenant(TenantSpec { authorization_server: true, ..spec })));
    house.put([Signing::new().resource()]);
    house.mount(&server("notes", &upstream.url()));
    let (http, nothing, paths) = (Http::default(), says("nothing", &[]), all_paths());
    assert!(paths.len() > 4_000, "{}", paths.len());
    let (mut answered, mut asked) = (Vec::new(), 0);
    for path in &paths {
        for method in ["GET", "POST", "DELETE"] {
            let status = send(&http, method, &house.at(path), &nothing, &[]).await.status.as_u16();
            asked += 1;
            match status {
                200 => answered.push((method, path.as_str())),
                401 | 404 | 405 => (),
                other => panic!("{method} {path}: {other}"),
            }
        }
    }
    // Of metadata the listed ones stand for all: it is there for every name that a tenant or server may have.
    let is_metadata = |path: &str| {
        let of = path.strip_prefix("/.well-known/oauth-protected-resource/").unwrap_or_default();
        matches!(
            *of.split('/').collect::<Vec<_>>(),
            ["mcp"] | ["servers" | "t", _, "mcp"] | ["t", _, "servers", _, "mcp"]
        )
    };
    answered.retain(|(method, path)| {
        *method != "GET" || !is_metadata(path) || ANSWERS_ANYBODY.iter().any(|(listed, _)| listed == path)
    });
    let mut listed: Vec<_> = ANSWERS_ANYBODY.iter().map(|(path, _)| ("GET", *path)).collect();
    listed.sort_by_key(|(_, path)| *path);
    assert_eq!(answered, listed, "of {asked} requests");
    assert_eq!(upstream.sessions(), 0);
}

#[tokio::test]
async fn health_answers_everybody_and_says_nothing_of_anybody() {
    let house = House::start().await;
    for path in ["/livez", "/readyz", "/livez/", "/readyz/"] {
        for authorization in [None, Some("Bearer nonsense"), Some("Basic Z2hr")] {
            let headers: Vec<_> = authorization.into_iter().map(|value| ("authorization", value)).collect();
            let answer = Http::default().send("GET", &house.at(path), &headers, "").await.unwrap();
            assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "ok\n"), "{path}");
            for method in &METHODS[1..] {
                let answer = Http::default().send(method, &house.at(path), &headers, "").await.unwrap();
                assert_eq!(answer.status, 405, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn no_header_makes_anybody_somebody() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&server("notes", &upstream.url()));
    let Table { good, .. } = table(&house);
    let http = Http::default();
    let all: Vec<(&str, &str)> = BELIEVED.to_vec();
    let stranger = says("nothing", &[]);
    for path in MCP.iter().chain(&INTERNAL) {
        for method in ["GET", "POST", "DELETE"] {
            for beside in std::iter::once(all.as_slice()).chain(all.chunks(1)) {
                let answer = send(&http, method, &house.at(path), &stranger, beside).await;
                assert_eq!(answer.status, 401, "{method} {path} {beside:?}");
            }
        }
    }
    // Who is somebody stays the same, with every one of them.
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "servers"}}).to_string();
    for (name, bearer) in &good {
        let url = house.at("/t/acme/servers/gatehouse/mcp");
        let mcp = Mcp::open(&url, bearer).await;
        let bearer = format!("Bearer {bearer}");
        let ask = async |beside: &[(&str, &str)]| {
            let mut headers = tests::mcp::POST.to_vec();
            headers.extend([("authorization", bearer.as_str()), ("mcp-session-id", mcp.session())]);
            headers.extend(beside);
            http.send("POST", &url, &headers, call.clone()).await.unwrap()
        };
        let plain = ask(&[]).await.expect(200).json();
        assert!(plain.to_string().contains("acme"), "{plain}");
        for beside in std::iter::once(all.as_slice()).chain(all.chunks(1)) {
            assert_eq!(ask(beside).await.expect(200).json(), plain, "{name} {beside:?}");
        }
    }
}

#[tokio::test]
async fn a_key_opens_its_own_tenant_only() {
    let house = House::start().await;
    let other = TenantSpec { id: TenantId::fresh(), name: "other".parse().unwrap(), ..tenant() };
    house.put([Resource::Tenant(other)]);
    for role in [KeyRole::User, KeyRole::TenantAdmin, KeyRole::PlatformAdmin] {
        let key = house.key(role);
        for path in ["/t/other/mcp", "/t/other/servers/gatehouse/mcp", "/t/nobody/mcp"] {
            for method in METHODS {
                let failure = shows("key of another tenant", &key.text);
                let answer = send(&Http::default(), method, &house.at(path), &failure, &[]).await;
                assert_eq!(answer.status, 404, "{role:?} {method} {path}");
            }
        }
    }
}
