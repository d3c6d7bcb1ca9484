//! What is left of those who were signed in goes when nobody needs it any more.

use model::ResourceName;
use sea_orm::ConnectionTrait as _;
use store::{ClientKind, ClientRecord, GRANT_IDLE, GrantPage, NewAttempt, Purged, Retention, Rotation, TenantStore};

use crate::house::{House, START, actor};
use crate::sign_in::{DAY, MINUTE, code, grant, hash, person, seq, session, told};

const HOUR: i64 = 60 * MINUTE;

async fn purge(house: &House) -> Purged {
    let now = model::Clock::now_micros(&*house.clock);
    house.store.platform().purge_expired(now, Retention::default()).await.unwrap()
}

async fn rows_of(house: &House, table: &str) -> i64 {
    let db = house.raw().await;
    let sql = format!("SELECT count(*) FROM \"{table}\"");
    let statement = sea_orm::Statement::from_string(db.get_database_backend(), sql);
    db.query_one_raw(statement).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

/// Everything that ends, until `end` and until a day later; all of one user.
async fn inhabited(house: &House, tenant: &TenantStore, end: i64) {
    let platform = house.store.platform();
    let ann = person(tenant, "ann").await.id;
    tenant.set_password(&actor(), ann, "phc".to_owned()).await.unwrap();
    for (number, expires_at) in [(1, end), (2, end + DAY)] {
        tenant.create_link(&actor(), ann, hash(number), expires_at).await.unwrap();
        platform.create_session(store::NewSession { expires_at, ..session(tenant, ann, number) }).await.unwrap();
        tenant.create_code(store::NewCode { expires_at, ..code(ann, number) }).await.unwrap();
        let client = ClientRecord {
            id: format!("client{number}"),
            kind: ClientKind::Registered,
            name: "client".to_owned(),
            redirect_uris: vec![],
            created_at: START,
            used_at: None,
            expires_at,
        };
        tenant.create_client(client).await.unwrap();
        let attempt = NewAttempt {
            hash: hash(number),
            kind: "consent".to_owned(),
            payload: "{}".to_owned(),
            binding: [0; 32],
            expires_at,
        };
        platform.create_attempt(attempt).await.unwrap();
        tenant.create_grant(&actor(), grant(ann, number)).await.unwrap();
    }
}

#[tokio::test]
async fn what_has_ended_goes_and_what_has_not_stays() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    inhabited(&house, &tenant, START + 5 * MINUTE).await;
    let before = seq(&house).await;
    assert_eq!(purge(&house).await, Purged::default());
    house.clock.advance_micros(5 * MINUTE - 1);
    assert_eq!(purge(&house).await, Purged::default());
    house.clock.advance_micros(1);
    let first = Purged { sessions: 1, attempts: 3, clients: 1, ..Purged::default() };
    assert_eq!(purge(&house).await, first);
    assert_eq!(purge(&house).await, Purged::default(), "a second pass finds nothing");
    for (table, rows) in [
        ("session", 1),
        ("sign_in_link", 1),
        ("oauth_code", 1),
        ("oauth_client", 1),
        // The other one is no longer kept than any.
        ("attempt", 1),
        ("oauth_grant", 2),
        ("password", 1),
    ] {
        assert_eq!(rows_of(&house, table).await, rows, "{table}");
    }
    assert_eq!(seq(&house).await, before, "proxies have nothing to learn of it");
}

#[tokio::test]
async fn a_revoked_grant_goes_after_an_hour_and_proxies_are_told() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let ann = person(&tenant, "ann").await.id;
    let it = tenant.create_grant(&actor(), grant(ann, 1)).await.unwrap().value.id;
    let other = tenant.create_grant(&actor(), grant(ann, 2)).await.unwrap().value.id;
    assert!(matches!(tenant.rotate_refresh(hash(1), hash(3), START).await.unwrap(), Rotation::Rotated(_)));
    tenant.revoke_grant(&actor(), it).await.unwrap();
    let before = seq(&house).await;
    house.clock.advance_micros(HOUR);
    assert_eq!(purge(&house).await, Purged::default());
    assert_eq!(tenant.rotate_refresh(hash(1), hash(4), START + HOUR).await.unwrap(), Rotation::Reused(it));
    house.clock.advance_micros(1);
    assert_eq!(purge(&house).await.grants, 1);
    assert_eq!(told(&house, before).await, [(ResourceName::Revoked(it), true, false)]);
    assert_eq!((tenant.grant(it).await.unwrap(), rows_of(&house, "refresh_token").await), (None, 1));
    assert!(tenant.grant(other).await.unwrap().is_some());
    let second = house.second_process().await;
    tenant.revoke_grant(&actor(), other).await.unwrap();
    house.clock.advance_micros(HOUR + 1);
    let now = model::Clock::now_micros(&*house.clock);
    let (one, two) = (house.store.platform(), second.platform());
    let passes =
        tokio::join!(one.purge_expired(now, Retention::default()), two.purge_expired(now, Retention::default()));
    assert_eq!(passes.0.unwrap().grants + passes.1.unwrap().grants, 1, "once, whoever was first");
}

#[tokio::test]
async fn a_grant_that_ended_by_itself_goes_unsaid() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let ann = person(&tenant, "ann").await.id;
    let idle = tenant.create_grant(&actor(), grant(ann, 1)).await.unwrap().value.id;
    let used = tenant.create_grant(&actor(), grant(ann, 2)).await.unwrap().value.id;
    let short = store::NewGrant { expires_at: START + 2 * DAY, ..grant(ann, 3) };
    let short = tenant.create_grant(&actor(), short).await.unwrap().value.id;
    let left = async || {
        let page = GrantPage { limit: 9, ..Default::default() };
        tenant.grants(page).await.unwrap().into_iter().map(|grant| grant.id).collect::<Vec<_>>()
    };
    let before = seq(&house).await;
    house.clock.advance_micros(2 * DAY + HOUR);
    assert_eq!(purge(&house).await.grants, 0, "a token of it may live");
    house.clock.advance_micros(1);
    assert_eq!(purge(&house).await.grants, 1);
    assert_eq!(left().await, [idle, used], "{short:?} was at its end");
    let now = START + 2 * DAY;
    assert!(matches!(tenant.rotate_refresh(hash(2), hash(4), now).await.unwrap(), Rotation::Rotated(_)));
    house.clock.advance_micros(GRANT_IDLE - 2 * DAY);
    assert_eq!(purge(&house).await.grants, 1);
    assert_eq!(left().await, [used], "{idle:?} lay idle");
    assert_eq!(seq(&house).await, before, "of these proxies know nothing");
}

#[tokio::test]
async fn a_user_and_a_tenant_go_with_all_by_which_they_were_signed_in() {
    let house = House::new().await;
    let (tenant, other) = (house.tenant("acme").await, house.tenant("other").await);
    inhabited(&house, &tenant, START + 400 * DAY).await;
    let ann = tenant.user_by_login("ann").await.unwrap().unwrap().id;
    tenant.delete_user(&actor(), ann, None).await.unwrap();
    house.clock.advance_micros(91 * DAY);
    let purged = purge(&house).await;
    assert_eq!((purged.users, purged.grants), (1, 2));
    for table in ["session", "sign_in_link", "oauth_code", "oauth_grant", "refresh_token", "password"] {
        assert_eq!(rows_of(&house, table).await, 0, "{table}");
    }
    let bob = person(&other, "bob").await.id;
    house.store.platform().create_session(session(&other, bob, 50)).await.unwrap();
    let ben = person(&tenant, "ben").await.id;
    tenant.set_password(&actor(), ben, "phc".to_owned()).await.unwrap();
    tenant.create_grant(&actor(), grant(ben, 60)).await.unwrap();
    house.store.platform().create_session(session(&tenant, ben, 60)).await.unwrap();
    tenant.create_code(code(ben, 60)).await.unwrap();
    tenant.create_link(&actor(), ben, hash(60), i64::MAX).await.unwrap();
    house.store.platform().delete_tenant(&actor(), tenant.id(), None).await.unwrap();
    house.store.platform().purge_tenant(&actor(), tenant.id()).await.unwrap();
    for (table, rows) in [
        ("session", 1),
        ("sign_in_link", 0),
        ("oauth_code", 0),
        ("oauth_client", 0),
        ("oauth_grant", 0),
        ("refresh_token", 0),
        ("password", 0),
    ] {
        assert_eq!(rows_of(&house, table).await, rows, "{table}");
    }
}
