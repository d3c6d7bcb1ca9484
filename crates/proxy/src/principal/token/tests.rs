//! What is remembered of tokens, and what is looked at each time.

use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST};
use identity::Signer as SigningKey;
use model::{
    ClaimMapping, IssuerSpec, KeyId, Limits, Resource, RevokedGrant, SignerId, SignerSpec, SigningAlgorithm, TenantId,
    TenantSpec, UserId,
};
use uuid::Uuid;

use super::super::authenticate;
use super::*;
use crate::hosts::Hosts;
use crate::table::{Change, Tables};

const NOW: i64 = 1_800_000_000;

fn tenant() -> TenantId {
    TenantId(Uuid::from_u128(1))
}

fn tables(resources: Vec<Resource>) -> Tables {
    let tables = Tables::new(egress::Egress::new(egress::Policy::default()).unwrap());
    let tenant = TenantSpec {
        id: tenant(),
        name: "default".parse().unwrap(),
        limits: Limits::default(),
        stale_after: None,
        authorization_server: true,
    };
    put(&tables, Resource::Tenant(tenant));
    resources.into_iter().for_each(|resource| put(&tables, resource));
    tables
}

fn put(tables: &Tables, resource: Resource) {
    assert_eq!(tables.apply(Change { upserts: vec![resource], ..Change::default() }), []);
}

fn judge(tables: &Tables, tokens: &Tokens, bearer: &str, now: i64) -> Result<Authenticated, Fault> {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, "localhost:5011".parse().unwrap());
    headers.insert(AUTHORIZATION, format!("Bearer {bearer}").parse().unwrap());
    let hosts = Hosts::default();
    let endpoint = Endpoint { tenant: None, target: Some(Target::Aggregate), hosts: &hosts, headers: &headers };
    authenticate(&Judges { table: &tables.load(), tokens }, &endpoint, now * MICROS)
}

fn signer() -> (SigningKey, Resource) {
    let (signer, _) = SigningKey::generate(SignerId::fresh()).unwrap();
    let spec = SignerSpec { id: signer.id(), url: "http://x".to_owned(), public: signer.public(), until: i64::MAX };
    (signer, Resource::Signer(spec))
}

fn user(number: u128) -> UserSpec {
    UserSpec {
        id: UserId(Uuid::from_u128(number)),
        tenant: tenant(),
        login: format!("user-{number}"),
        external_id: None,
        role: KeyRole::User,
        active: true,
        departments: Vec::new(),
    }
}

fn granted(grant: u128, user: &UserSpec) -> Claims {
    Claims {
        audience: Audience::Url("http://localhost:5011/mcp".to_owned()),
        tenant: tenant(),
        user: user.id,
        departments: Vec::new(),
        by: By::Grant { id: model::GrantId(Uuid::from_u128(grant)), client: "client".to_owned() },
        issued_at: NOW,
        expires_at: NOW + 600,
        id: Uuid::from_u128(9),
    }
}

#[test]
fn only_three_parts_of_base64url_look_like_a_token() {
    for (text, looks) in [
        ("a.b.c", true),
        ("a.b.", true),
        ("a-_9.Z.x", true),
        ("a.b", false),
        ("a.b.c.d", false),
        (".b.c", false),
        ("a..c", false),
        ("a.b.c=", false),
        ("a.b.c d", false),
        ("a.b+.c", false),
        ("ghk_live", false),
        ("", false),
    ] {
        assert_eq!(looks_like_token(text), looks, "{text}");
    }
}

#[test]
fn a_token_that_was_seen_is_judged_anew_by_the_table() {
    let ((signer, known), ann) = (signer(), user(1));
    let tables = tables(vec![known, Resource::User(ann.clone())]);
    let tokens = Tokens::new(|_, _| ());
    let token = signer.sign(&granted(1, &ann));
    for _ in 0..2 {
        assert_eq!(judge(&tables, &tokens, &token, NOW).ok().and_then(|who| who.user()), Some(ann.id));
    }
    assert!(judge(&tables, &tokens, &token, NOW + 600).is_err(), "its time is over");
    put(&tables, Resource::User(UserSpec { active: false, ..ann.clone() }));
    assert!(judge(&tables, &tokens, &token, NOW).is_err());
    put(&tables, Resource::User(UserSpec { role: KeyRole::Viewer, ..ann.clone() }));
    assert_eq!(judge(&tables, &tokens, &token, NOW).unwrap().role(), KeyRole::Viewer);
    put(&tables, Resource::User(UserSpec { role: KeyRole::PlatformAdmin, ..ann }));
    assert_eq!(judge(&tables, &tokens, &token, NOW).unwrap().role(), KeyRole::User, "no token is an admin's");
    let revoked = RevokedGrant { id: model::GrantId(Uuid::from_u128(1)), tenant: tenant() };
    put(&tables, Resource::Revoked(revoked));
    assert!(judge(&tables, &tokens, &token, NOW).is_err());
}

#[test]
fn what_a_tenants_authorization_server_has_given_opens_nothing_while_the_tenant_has_none() {
    let ((signer, known), ann) = (signer(), user(1));
    let acting: KeyId = "0123456789abcdef".parse().unwrap();
    let key = model::KeyVerifier {
        id: acting,
        tenant: tenant(),
        user: None,
        role: KeyRole::User,
        scopes: model::KeyScopes { mcp: false, rest: true, act_as: true },
        sha256: [0; 32],
        servers: None,
        expires_at: None,
    };
    let tables = tables(vec![known, Resource::User(ann.clone()), Resource::Key(key)]);
    let tokens = Tokens::new(|_, _| ());
    let granted = granted(1, &ann);
    let on_behalf = Claims { by: By::Key(acting), ..granted.clone() };
    let (granted, on_behalf) = (signer.sign(&granted), signer.sign(&on_behalf));
    let set = |on| {
        let spec = tables.load().tenant(tenant()).unwrap().spec.clone();
        put(&tables, Resource::Tenant(TenantSpec { authorization_server: on, ..spec }));
    };
    for (on, token, opens) in [
        (true, &granted, true),
        (true, &on_behalf, true),
        (false, &granted, false),
        (false, &on_behalf, true),
        (true, &granted, true),
    ] {
        set(on);
        // Never seen, and seen before.
        for _ in 0..2 {
            assert_eq!(judge(&tables, &tokens, token, NOW).is_ok(), opens, "{on} {token}");
        }
    }
}

#[test]
fn what_is_refused_is_not_remembered() {
    let ((signer, known), ann) = (signer(), user(1));
    let tables = tables(vec![known, Resource::User(ann.clone())]);
    let tokens = Tokens::new(|_, _| ());
    let good = signer.sign(&granted(1, &ann));
    let (body, signature) = good.rsplit_once('.').unwrap();
    let forged = format!("{body}.{}", signature.chars().rev().collect::<String>());
    for bearer in [forged.as_str(), "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
        assert!(judge(&tables, &tokens, bearer, NOW).is_err());
    }
    let of_nobody = signer.sign(&granted(1, &user(2)));
    assert!(judge(&tables, &tokens, &of_nobody, NOW).is_err());
    tokens.seen.run_pending_tasks();
    assert_eq!(tokens.seen.entry_count(), 0);
    judge(&tables, &tokens, &good, NOW).unwrap();
    tokens.seen.run_pending_tasks();
    assert!((APIECE as u64..1 << 10).contains(&tokens.fill()[0].2()));
}

#[test]
fn what_is_remembered_is_bounded_in_bytes() {
    let ((signer, known), ann) = (signer(), user(1));
    let tables = tables(vec![known, Resource::User(ann.clone())]);
    let tokens = Tokens::new(|_, _| ());
    let large = Claims { departments: (0..60).map(|number| format!("{number:0>64}")).collect(), ..granted(1, &ann) };
    judge(&tables, &tokens, &signer.sign(&large), NOW).unwrap();
    tokens.seen.run_pending_tasks();
    let used = tokens.fill()[0].2();
    assert!((60 * 64..8 << 10).contains(&used), "{used}");
}

#[test]
fn a_key_that_the_set_of_an_issuer_has_not_is_told_of() {
    let issuer = IssuerSpec {
        id: IssuerId(Uuid::from_u128(5)),
        tenant: tenant(),
        issuer: "https://id.example".to_owned(),
        audiences: Vec::new(),
        algorithms: SigningAlgorithm::ALL.to_vec(),
        claims: ClaimMapping::default(),
        scope: None,
        unknown_users: true,
        mcp: true,
        keys: r#"{"keys":[]}"#.to_owned(),
        keys_until: i64::MAX,
    };
    let tables = tables(vec![Resource::Issuer(issuer)]);
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = told.clone();
    let tokens = Tokens::new(move |issuer, now| heard.lock().unwrap().push((issuer, now)));
    let token = |kid: &str, iss: &str| {
        let part = |text: String| URL_SAFE_NO_PAD.encode(text);
        let head = part(format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"{kid}"}}"#));
        let claims = part(format!(r#"{{"iss":"{iss}","sub":"x","aud":"y","exp":{}}}"#, NOW + 60));
        format!("{head}.{claims}.{}", "A".repeat(86))
    };
    assert!(judge(&tables, &tokens, &token("new", "https://id.example"), NOW).is_err());
    assert!(judge(&tables, &tokens, &token("new", "https://nobody.example"), NOW).is_err());
    assert_eq!(*told.lock().unwrap(), [(IssuerId(Uuid::from_u128(5)), NOW * MICROS)]);
}

#[test]
fn a_subject_is_the_same_for_the_next_token() {
    let ((signer, known), ann) = (signer(), user(1));
    let acting: KeyId = "0123456789abcdef".parse().unwrap();
    let key = model::KeyVerifier {
        id: acting,
        tenant: tenant(),
        user: None,
        role: KeyRole::Viewer,
        scopes: model::KeyScopes { mcp: false, rest: true, act_as: true },
        sha256: [0; 32],
        servers: None,
        expires_at: Some((NOW + 100) * MICROS),
    };
    let tables = tables(vec![known, Resource::User(ann.clone()), Resource::Key(key)]);
    let tokens = Tokens::new(|_, _| ());
    let on_behalf = Claims { by: By::Key(acting), audience: Audience::Tenant(tenant()), ..granted(1, &ann) };
    let who = judge(&tables, &tokens, &signer.sign(&on_behalf), NOW).unwrap();
    let next = Claims { issued_at: NOW + 1, id: Uuid::from_u128(10), ..on_behalf };
    assert_eq!(judge(&tables, &tokens, &signer.sign(&next), NOW + 1).unwrap().subject(), who.subject());
    assert_eq!(who.subject(), Subject::on_behalf(acting, ann.id));
    assert_eq!(who.expires_at(), Some((NOW + 100) * MICROS), "the acting key ends first");
}
