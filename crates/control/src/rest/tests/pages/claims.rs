//! What an issuer says of departments and role holds from each sign-in on.

use model::{KeyRole, UserId};
use serde_json::{Value, json};
use store::{Actor, AuditPage, IssuerPatch, UserPatch};

use super::browser::Browser;
use super::idp::Idp;
use super::{House, user};

/// Signs in at the issuer as whoever these claims say.
async fn comes(house: &House, idp: &Idp, claims: &Value) {
    let mut browser = Browser::new(house);
    let begun = browser.get("/signin/issuer/acme/company").await;
    let back = idp.answers(begun.header("location"), claims.clone());
    let told = browser.get(&back).await;
    assert_eq!(told.status, 303, "{claims}: {}", told.text);
}

#[tokio::test]
async fn what_the_issuer_says_holds_from_each_sign_in_on() {
    let house = House::open().await;
    let idp = Idp::open().await;
    let issuer = idp.trusted(&house, |new| new.claims.roles.push(("worker".to_owned(), KeyRole::User))).await;
    for name in ["sales", "ops"] {
        house.admin("POST", "/api/v1/departments", &format!(r#"{{"name":"{name}"}}"#)).await;
    }
    let store = house.app.store.tenant(house.acme);
    let ann = user(&house, house.acme, "ann", KeyRole::User).await;
    let root = user(&house, house.acme, "root", KeyRole::PlatformAdmin).await;
    // An admin has said what the issuer calls them: a login makes nobody one.
    let bound = UserPatch { external_id: Some(Some("id-root".to_owned())), ..UserPatch::default() };
    store.patch_user(&Actor::system("test"), root, None, bound).await.unwrap();
    let now = async |id: UserId| {
        let user = store.user(id).await.unwrap().unwrap();
        let departments: Vec<_> = user.departments.iter().map(|department| department.name.to_string()).collect();
        (departments.join(" "), user.role, user.generation)
    };
    for (claims, departments, role, changes) in [
        (json!({"groups": ["ops", "none", "sales"], "roles": ["boss"]}), "ops sales", KeyRole::TenantAdmin, 1),
        (json!({"groups": ["ops", "none", "sales"], "roles": ["boss"]}), "ops sales", KeyRole::TenantAdmin, 0),
        (json!({"groups": ["sales", "ops"], "roles": ["boss"]}), "sales ops", KeyRole::TenantAdmin, 1),
        (json!({"groups": ["ops"], "roles": ["worker"]}), "ops", KeyRole::User, 1),
        (json!({"groups": ["ops"], "roles": ["stranger"]}), "ops", KeyRole::User, 0),
        (json!({"roles": ["boss"]}), "ops", KeyRole::TenantAdmin, 1),
        (json!({}), "ops", KeyRole::User, 1),
        (json!({"groups": []}), "", KeyRole::User, 1),
    ] {
        let before = now(ann).await.2.0;
        comes(&house, &idp, &claims).await;
        let (found, is, generation) = now(ann).await;
        assert_eq!((found.as_str(), is), (departments, role), "{claims}");
        assert_eq!(generation.0 - before, changes, "{claims}: in one change, and only if something differs");
    }
    let rows = store.audit(AuditPage { limit: 50, ..Default::default() }).await.unwrap();
    let of_issuer = rows.iter().filter(|row| row.action == "user.change" && row.actor == "issuer company").count();
    assert_eq!(of_issuer, 6);

    // An admin of the platform is in departments like others, and stays who they are.
    let root_says = json!({"sub": "id-root", "preferred_username": "root", "groups": ["ops"], "roles": ["worker"]});
    comes(&house, &idp, &root_says).await;
    let (departments, role, _) = now(root).await;
    assert_eq!((departments.as_str(), role), ("ops", KeyRole::PlatformAdmin));

    // An issuer that maps nothing changes nothing, whatever it says.
    let claims = model::ClaimMapping { departments: None, role: None, roles: Vec::new(), ..issuer.claims.clone() };
    let patch = IssuerPatch { claims: Some(claims), ..IssuerPatch::default() };
    store.change_issuer(&Actor::system("test"), issuer.id, None, patch).await.unwrap();
    let before = (now(ann).await, now(root).await);
    for login in ["ann", "root"] {
        let claims = json!({"sub": format!("id-{login}"), "preferred_username": login, "groups": ["sales"],
            "roles": ["boss"]});
        comes(&house, &idp, &claims).await;
    }
    assert_eq!((now(ann).await, now(root).await), before);
}
