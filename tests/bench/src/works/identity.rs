//! What it costs to learn who is calling: of keys and tokens that were shown before, of tokens that come for the
//! first time, and of those that open nothing. No sockets: the proxy's own check, called in a loop.

use std::sync::Arc;
use std::time::Instant;

use ::identity::{Audience, By, Claims, Signer};
use egress::{Egress, Policy};
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderValue};
use model::{
    Clock as _, KeyRole, KeyScopes, KeyText, KeyVerifier, Limits, Resource, SignerId, SignerSpec, SystemClock,
    TenantId, TenantSpec, UserId, UserSpec,
};
use proxy::{Change, Gate, Hosts, Readiness, Sealer, Tables};
use telemetry::Metrics;
use uuid::Uuid;

use crate::BenchError;
use crate::child::ChildError;
use crate::report::Report;
use crate::rig::Plan;

/// Checks of one round: of what was seen before, and of what costs a signature.
const SEEN: u32 = 200_000;
const FRESH: u32 = 2_000;
/// Keys and users that the table holds beside the one that calls.
const OTHERS: u128 = 10_000;
const PATH: &str = "/mcp";

/// A round of each kind of caller after the other, as often as the plan says.
pub(crate) fn identity(plan: &Plan, report: &mut Report) -> Result<(), BenchError> {
    let place = Place::new().map_err(|_| ChildError::NoFigure("identity"))?;
    let (key, token) = (place.key.expose(), place.token()?);
    let mut figures: [Vec<f64>; 5] = Default::default();
    for _ in 0..plan.rounds {
        let fresh = (0..FRESH).map(|_| place.token()).collect::<Result<Vec<_>, _>>()?;
        let forged: Vec<String> = fresh.iter().map(|token| forged(token)).collect();
        let strange: Vec<String> = (0..SEEN).map(strange_key).collect();
        let seen = |bearer: &str| std::iter::repeat_n(bearer.to_owned(), SEEN as usize).collect::<Vec<_>>();
        let kinds =
            [(seen(key.expose()), true), (seen(&token), true), (fresh, true), (forged, false), (strange, false)];
        for ((bearers, good), figure) in kinds.into_iter().zip(&mut figures) {
            figure.push(place.cost(&bearers, good)?);
        }
    }
    let [key, token, fresh, forged, strange] = figures;
    report.claim("who calls: a key that was seen before", "us", key, 2.0, None);
    report.claim("who calls: a token that was seen before", "us", token, 2.0, None);
    report.claim("who calls: a token for the first time", "us", fresh, None, None);
    report.claim("who calls: a token with a forged signature", "us", forged, None, None);
    report.claim("who calls: a random key", "us", strange, None, None);
    Ok(())
}

/// A gate with one caller among many.
struct Place {
    gate: Gate,
    key: KeyText,
    signer: Signer,
    tenant: TenantId,
    user: UserId,
}

impl Place {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let egress = Egress::new(Policy { dev: true, own: Vec::new(), rules: Vec::new(), revision: 1 })?;
        let tables = Arc::new(Tables::new(egress.clone()));
        let (signer, _) = Signer::generate(SignerId::fresh())?;
        let (tenant, user) = (TenantId::fresh(), UserId::fresh());
        let key = KeyText::mint("bench", [7; 16], [9; 32]);
        let mut upserts = vec![
            Resource::Tenant(TenantSpec {
                id: tenant,
                name: "default".parse()?,
                limits: Limits::generous(),
                stale_after: None,
                authorization_server: true,
            }),
            Resource::Signer(SignerSpec {
                id: signer.id(),
                url: "http://127.0.0.1:5010".to_owned(),
                public: signer.public(),
                until: i64::MAX,
            }),
            Resource::User(person(tenant, user, "ann".to_owned())),
            Resource::Key(verifier(tenant, &key)),
        ];
        for at in 0..OTHERS {
            let other = UserId(Uuid::from_u128(at));
            let mut id = [0; 16];
            id.copy_from_slice(&(at * 0x9E37_79B9).to_le_bytes());
            upserts.push(Resource::User(person(tenant, other, format!("user{at}"))));
            upserts.push(Resource::Key(verifier(tenant, &KeyText::mint("bench", id, [3; 32]))));
        }
        tables.apply(Change { replace_all: true, upserts, removes: Vec::new() });
        let readiness = Arc::new(Readiness::default());
        readiness.table_is_there();
        let (sealer, clock) = (Arc::new(Sealer::with_own_key()), Arc::new(SystemClock));
        let gate = Gate::new(tables, sealer, clock, Hosts::default(), readiness, egress, &Metrics::new());
        Ok(Self { gate, key, signer, tenant, user })
    }

    /// A token as the authorization server makes it.
    fn token(&self) -> Result<String, BenchError> {
        let now = SystemClock.now_secs();
        Ok(self.signer.sign(&Claims {
            audience: Audience::Url(format!("http://127.0.0.1:5011{PATH}")),
            tenant: self.tenant,
            user: self.user,
            departments: vec!["sales".to_owned(), "support".to_owned()],
            by: By::Grant { id: model::GrantId::fresh(), client: "https://client.example/metadata.json".to_owned() },
            issued_at: now,
            expires_at: now + 600,
            id: Uuid::new_v4(),
        }))
    }

    /// Microseconds for each of the bearers, all of which must be let in, or none.
    fn cost(&self, bearers: &[String], good: bool) -> Result<f64, BenchError> {
        let heads = bearers.iter().map(|bearer| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("127.0.0.1:5011"));
            let bearer = HeaderValue::from_str(&format!("Bearer {bearer}"));
            headers.insert(AUTHORIZATION, bearer.map_err(|_| ChildError::NoFigure("bearer"))?);
            Ok(headers)
        });
        let heads = heads.collect::<Result<Vec<_>, ChildError>>()?;
        let begun = Instant::now();
        let right = heads.iter().filter(|headers| self.gate.lets_in(PATH, headers) == good).count();
        let took = begun.elapsed();
        if right != heads.len() {
            return Err(ChildError::NoFigure("identity").into());
        }
        Ok(took.as_secs_f64() * 1e6 / heads.len() as f64)
    }
}

fn person(tenant: TenantId, id: UserId, login: String) -> UserSpec {
    UserSpec { id, tenant, login, external_id: None, role: KeyRole::User, active: true, departments: Vec::new() }
}

fn verifier(tenant: TenantId, key: &KeyText) -> KeyVerifier {
    KeyVerifier {
        id: key.id(),
        tenant,
        user: None,
        role: KeyRole::User,
        scopes: KeyScopes::PLAIN,
        sha256: key.sha256(),
        servers: None,
        expires_at: None,
    }
}

/// Another signature of the right length.
fn forged(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap_or((token, ""));
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{signed}.{other}{}", signature.chars().skip(1).collect::<String>())
}

/// A key that nobody has, with the right checksum.
fn strange_key(number: u32) -> String {
    let mut id = [1; 16];
    id.iter_mut().zip(number.to_le_bytes()).for_each(|(byte, part)| *byte = part);
    KeyText::mint("bench", id, [5; 32]).expose().expose().to_owned()
}
