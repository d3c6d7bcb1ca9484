//! What a caller may do is the least of what key, token, user, issuer and tenant let them: tried with any of them
//! narrower, alone and together.

use identity::{Audience, By, Claims};
use model::{
    GrantId, IssuerSpec, KeyRole, KeyScopes, KeyVerifier, Resource, ResourceName, RevokedGrant, TenantId, TenantSpec,
    UserId, UserSpec,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tests::{Http, Mcp};

use crate::house::{House, MORNING, server, tenant};
use crate::papers::{Issuing, Signing, user};

/// How somebody says who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Key,
    OnBehalf,
    Grant,
    Issuer,
}

/// Everything that can take something away.
#[derive(Debug, Clone)]
struct World {
    way: Way,
    /// Whether the tenant is here, and whether it lets clients sign people in at control.
    tenant: bool,
    signs_in: bool,
    user: User,
    key: Key,
    grant_revoked: bool,
    issuer: Issuer,
}

#[derive(Debug, Clone)]
struct User {
    known: bool,
    own: bool,
    active: bool,
    role: KeyRole,
}

#[derive(Debug, Clone)]
struct Key {
    known: bool,
    own: bool,
    over: bool,
    role: KeyRole,
    scopes: KeyScopes,
    restricted: bool,
}

#[derive(Debug, Clone)]
struct Issuer {
    for_mcp: bool,
    fresh: bool,
    strangers: bool,
    role: Option<KeyRole>,
}

/// Mostly yes: what is taken away alone shows more than what is taken away with everything else.
fn mostly() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.85)
}

fn role() -> impl Strategy<Value = KeyRole> {
    prop::sample::select(KeyRole::ALL.to_vec())
}

fn worlds() -> impl Strategy<Value = World> {
    let way = prop::sample::select(vec![Way::Key, Way::OnBehalf, Way::Grant, Way::Issuer]);
    let users = (mostly(), mostly(), mostly(), role());
    let users = users.prop_map(|(known, own, active, role)| User { known, own, active, role });
    let scopes = (mostly(), any::<bool>(), mostly()).prop_map(|(mcp, rest, act_as)| KeyScopes { mcp, rest, act_as });
    let keys = (mostly(), mostly(), mostly(), role(), scopes, any::<bool>());
    let keys = keys.prop_map(|(known, own, live, role, scopes, restricted)| Key {
        known,
        own,
        over: !live,
        role,
        scopes,
        restricted,
    });
    let issuers = (mostly(), mostly(), any::<bool>(), prop::option::of(role()));
    let issuers = issuers.prop_map(|(for_mcp, fresh, strangers, role)| Issuer { for_mcp, fresh, strangers, role });
    let tenants = (mostly(), mostly());
    (way, tenants, users, keys, mostly(), issuers).prop_map(|(way, tenant, user, key, granted, issuer)| World {
        way,
        tenant: tenant.0,
        signs_in: tenant.1,
        user,
        key,
        grant_revoked: !granted,
        issuer,
    })
}

/// Who comes in as what, said once more and in other words than the code has for it.
struct Effective {
    role: KeyRole,
    /// Whether only one server of two.
    restricted: bool,
    /// Whether the tenant of the path is the caller's own.
    here: bool,
}

impl World {
    /// Or the status of who does not come in.
    fn effective(&self) -> Result<Effective, u16> {
        let (user, key, issuer) = (&self.user, &self.key, &self.issuer);
        let person = user.known && user.own && user.active;
        let live = key.known && !key.over;
        let at_most_user = |role: KeyRole| role.min(KeyRole::User);
        match self.way {
            Way::Key if !live || (key.own && !self.tenant) => Err(401),
            Way::Key if !key.scopes.mcp => Err(403),
            Way::Key => Ok(Effective { role: key.role, restricted: key.restricted, here: key.own }),
            Way::OnBehalf if !self.tenant || !person || !live || !key.own || !key.scopes.act_as => Err(401),
            Way::OnBehalf => Ok(Effective { role: at_most_user(user.role), restricted: key.restricted, here: true }),
            Way::Grant if !self.tenant || !self.signs_in || !person || self.grant_revoked => Err(401),
            Way::Grant => Ok(Effective { role: at_most_user(user.role), restricted: false, here: true }),
            Way::Issuer if !self.tenant || !issuer.for_mcp || !issuer.fresh => Err(401),
            Way::Issuer => {
                let recorded = match (user.known && user.own, user.active) {
                    (true, true) => user.role,
                    (true, false) => return Err(401),
                    (false, _) if issuer.strangers => KeyRole::User,
                    (false, _) => return Err(401),
                };
                let told = issuer.role.unwrap_or(KeyRole::User);
                Ok(Effective { role: at_most_user(recorded.min(told)), restricted: false, here: true })
            }
        }
    }

    /// What comes of asking for nothing at a server that is there: 400, as no session is named.
    fn status(&self, name: &str) -> u16 {
        match self.effective() {
            Err(status) => status,
            Ok(Effective { here: false, .. }) => 404,
            Ok(Effective { role: KeyRole::Viewer, .. }) => 403,
            Ok(Effective { restricted: true, .. }) if name == "desk" => 404,
            Ok(_) => 400,
        }
    }

    /// What comes of one of the internal calls, which are for admins with keys.
    fn internal(&self) -> u16 {
        match (self.way, self.effective()) {
            (Way::Key, Ok(Effective { role, .. })) if role >= KeyRole::TenantAdmin => 200,
            (Way::Key, Ok(_)) => 403,
            (Way::Key, Err(status)) => status,
            _ => 401,
        }
    }
}

/// The word of a role that an issuer tells.
fn told(role: KeyRole) -> &'static str {
    match role {
        KeyRole::Viewer => "reader",
        KeyRole::User => "member",
        KeyRole::TenantAdmin => "admin",
        KeyRole::PlatformAdmin => "boss",
    }
}

/// A house of that world, and what its caller shows.
async fn build(world: &World) -> (House, String) {
    let house = House::start().await;
    let other = TenantSpec { id: TenantId::fresh(), name: "other".parse().unwrap(), ..tenant() };
    let of = |own: bool| if own { tenant().id } else { other.id };
    house.put([Resource::Tenant(TenantSpec { authorization_server: world.signs_in, ..tenant() })]);
    let ann = user("ann");
    let spec = UserSpec { tenant: of(world.user.own), active: world.user.active, role: world.user.role, ..ann.clone() };
    let key = house.key(world.key.role);
    let verifier = KeyVerifier {
        tenant: of(world.key.own),
        scopes: world.key.scopes,
        servers: world.key.restricted.then(|| vec!["notes".to_owned(), "gatehouse".to_owned()]),
        expires_at: Some(if world.key.over { MORNING } else { MORNING + 3_600_000_000 }),
        ..key.verifier.clone()
    };
    let (signing, mut issuing, grant) = (Signing::new(), Issuing::new("https://id.example"), GrantId::fresh());
    issuing.spec = IssuerSpec {
        mcp: world.issuer.for_mcp,
        keys_until: if world.issuer.fresh { i64::MAX } else { MORNING },
        unknown_users: world.issuer.strangers,
        audiences: vec!["api://gatehouse".to_owned()],
        ..issuing.spec
    };
    issuing.spec.claims.roles = KeyRole::ALL.map(|role| (told(role).to_owned(), role)).to_vec();
    house.put([Resource::Tenant(other.clone()), signing.resource(), issuing.resource(), Resource::Key(verifier)]);
    ["notes", "desk"].iter().for_each(|name| house.mount(&server(name, "http://127.0.0.1:9/mcp")));
    if world.user.known {
        house.put([Resource::User(spec)]);
    }
    if world.grant_revoked {
        house.put([Resource::Revoked(RevokedGrant { id: grant, tenant: tenant().id })]);
    }
    if !world.key.known {
        house.remove([ResourceName::Key(key.verifier.id)]);
    }
    if !world.tenant {
        house.remove([ResourceName::Tenant(tenant().id)]);
    }
    let bearer = match world.way {
        Way::Key => key.text,
        Way::OnBehalf => signing.sign(&signing.on_behalf(key.verifier.id, &ann)),
        Way::Grant => {
            let granted = signing.granted(grant, &ann);
            assert!(matches!(granted.by, By::Grant { .. }));
            signing.sign(&Claims { audience: Audience::Tenant(tenant().id), ..granted })
        }
        Way::Issuer => {
            let mut claims = issuing.claims("ann", "api://gatehouse");
            match world.issuer.role {
                Some(role) => claims["role"] = json!(told(role)),
                None => assert!(claims.get("role").is_none()),
            }
            issuing.sign(&claims)
        }
    };
    (house, bearer)
}

async fn check(world: &World) {
    let (house, bearer) = build(world).await;
    let http = Http::default();
    let authorization = format!("Bearer {bearer}");
    let status = async |method: &str, path: &str| {
        let headers = [("authorization", authorization.as_str())];
        http.send(method, &house.at(path), &headers, "").await.unwrap().status.as_u16()
    };
    for name in ["notes", "desk"] {
        let path = format!("/t/acme/servers/{name}/mcp");
        assert_eq!(status("DELETE", &path).await, world.status(name), "{path}: {world:?}");
    }
    assert_eq!(status("GET", "/list-remote-proxies").await, world.internal(), "internal: {world:?}");
    let Ok(Effective { role, here: true, .. }) = world.effective() else { return };
    if role == KeyRole::Viewer {
        return;
    }
    let mcp = Mcp::open(&house.at("/t/acme/servers/gatehouse/mcp"), &bearer).await;
    let you: Value = serde_json::from_str(&mcp.text("servers", json!({})).await).unwrap();
    assert_eq!(you["you"]["role"], role.as_str(), "{world:?}");
    let of_a_user = world.way != Way::Key && world.user.known && world.user.own;
    let expected = of_a_user.then(|| user("ann").id).map(|UserId(id)| id.to_string());
    assert_eq!(you["you"]["user"], json!(expected), "{world:?}");
}

#[test]
fn nobody_may_more_than_the_least_of_key_token_user_issuer_and_tenant() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut config = ProptestConfig::with_cases(400);
    config.failure_persistence = None;
    let (mut came_in, mut stayed_out) = (0, 0);
    let tried = TestRunner::new(config).run(&worlds(), |world| {
        runtime.block_on(check(&world));
        Ok(())
    });
    tried.unwrap();
    // What was tried is worth something only if both happen often.
    let mut runner = TestRunner::deterministic();
    for _ in 0..400 {
        let world = worlds().new_tree(&mut runner).unwrap().current();
        *(if world.effective().is_ok() { &mut came_in } else { &mut stayed_out }) += 1;
    }
    assert!(came_in > 100 && stayed_out > 100, "{came_in} came in, {stayed_out} did not");
}
