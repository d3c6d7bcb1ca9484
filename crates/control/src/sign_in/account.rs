//! Whom an issuer means: the user with this external id; else the one with this login whom no issuer has claimed
//! yet; else, where the issuer may bring people along, a new one. What the issuer says of departments and role holds
//! from each sign-in on.
//!
//! At many issuers people choose their login. So by a login alone nobody becomes somebody who has proved to be it here,
//! with a password, nor somebody who administers anything: an admin writes the external id into such a record.

use std::collections::BTreeSet;

use identity::Issued;
use model::{DepartmentId, DepartmentName, KeyRole, UserId};
use store::{Actor, IssuerRecord, NewUser, StoreError, TenantStore, UserPatch, UserRecord};

use crate::pages::Refusal;
use crate::rest::trace_id;

/// Longest login.
const MAX_LOGIN: usize = 128;
/// Logins that are tried when one is taken.
const MAX_ATTEMPTS: u32 = 100;
/// Departments of one user.
const MAX_DEPARTMENTS: usize = 32;

/// The user that the claims of a sign-in mean.
pub(crate) async fn of(store: &TenantStore, issuer: &IssuerRecord, issued: &Issued) -> Result<UserId, Refusal> {
    // Once more if somebody else changed what was read: two sign-ins of a new user at once.
    for _ in 0..3 {
        let found = match known(store, issued).await? {
            Some(user) => Some(user),
            None => unclaimed(store, issuer, issued).await?,
        };
        if let Some(user) = found {
            active(&user)?;
            let patch = news(store, issuer, issued, &user).await?;
            if patch == UserPatch::default() {
                return Ok(user.id);
            }
            match store.patch_user(&actor(issuer), user.id, Some(user.generation), patch).await {
                Ok(changed) => return active(&changed.value),
                Err(
                    StoreError::Stale { .. }
                    | StoreError::ExternalIdTaken
                    | StoreError::NoDepartment
                    | StoreError::NotFound,
                ) => continue,
                Err(error) => return Err(error.into()),
            }
        }
        if !issuer.unknown_users {
            return Err(Refusal::NoAccount { login: issued.login.clone() });
        }
        match create(store, issuer, issued).await? {
            Some(user) => return Ok(user),
            None => continue,
        }
    }
    Err(Refusal::Busy)
}

/// Whoever has the external id. Who was deleted stays out until purged, as on proxies.
async fn known(store: &TenantStore, issued: &Issued) -> Result<Option<UserRecord>, Refusal> {
    if let Some(user) = store.user_by_external_id(&issued.external_id).await? {
        return Ok(Some(user));
    }
    Ok(store.deleted_user_by_external_id(&issued.external_id).await?)
}

/// Whoever has the login, if no issuer has claimed them yet and a login may be enough.
async fn unclaimed(store: &TenantStore, issuer: &IssuerRecord, issued: &Issued) -> Result<Option<UserRecord>, Refusal> {
    let Some(login) = &issued.login else { return Ok(None) };
    let found = store.user_by_login(login).await?.filter(|user| user.external_id.is_none());
    let Some(user) = found else { return Ok(None) };
    if user.role >= KeyRole::TenantAdmin || store.password(user.id).await?.is_some() {
        tracing::warn!(issuer = %issuer.id, user = %user.id, "an issuer named the login of somebody else's account");
        return Err(Refusal::Unbound { login: login.clone() });
    }
    Ok(Some(user))
}

/// What the record does not say yet. An issuer that tells nothing of departments or roles changes nothing there, and an
/// admin of the platform is made and unmade by another one alone.
async fn news(
    store: &TenantStore,
    issuer: &IssuerRecord,
    issued: &Issued,
    user: &UserRecord,
) -> Result<UserPatch, Refusal> {
    let mut patch = UserPatch::default();
    if user.external_id.as_ref() != Some(&issued.external_id) {
        patch.external_id = Some(Some(issued.external_id.clone()));
    }
    if issuer.claims.departments.is_some() && issued.departments.is_some() {
        let said = departments(store, issued).await?;
        let differ = !user.departments.iter().map(|department| department.id).eq(said.iter().copied());
        patch.departments = differ.then_some(said);
    }
    if issuer.claims.role.is_some() && user.role != KeyRole::PlatformAdmin {
        let said = role(issued);
        patch.role = (said != user.role).then_some(said);
    }
    Ok(patch)
}

/// A tenant's issuer makes no admins of the platform.
fn role(issued: &Issued) -> KeyRole {
    issued.role.unwrap_or(KeyRole::User).min(KeyRole::TenantAdmin)
}

fn active(user: &UserRecord) -> Result<UserId, Refusal> {
    if user.active && user.deleted_at.is_none() { Ok(user.id) } else { Err(Refusal::Inactive) }
}

/// A user with what the claims say; `None` if somebody has just got in the way.
async fn create(store: &TenantStore, issuer: &IssuerRecord, issued: &Issued) -> Result<Option<UserId>, Refusal> {
    let wanted = login(issued);
    let departments = departments(store, issued).await?;
    for attempt in 1..=MAX_ATTEMPTS {
        let login = if attempt == 1 { wanted.clone() } else { format!("{wanted}-{attempt}") };
        // Somebody else's, who is told from this one by the external id.
        if store.user_by_login(&login).await?.is_some() {
            continue;
        }
        let new = NewUser {
            title: issued.login.clone().filter(|title| fits_title(title)).unwrap_or_else(|| login.clone()),
            login,
            external_id: Some(issued.external_id.clone()),
            departments: departments.clone(),
            role: role(issued),
            active: true,
        };
        return match store.create_user(&actor(issuer), new).await {
            Ok(made) => Ok(Some(made.value.id)),
            Err(StoreError::LoginTaken | StoreError::ExternalIdTaken | StoreError::NoDepartment) => Ok(None),
            Err(StoreError::Bound { .. }) => Err(Refusal::NoAccount { login: issued.login.clone() }),
            Err(error) => Err(error.into()),
        };
    }
    Err(Refusal::NoAccount { login: issued.login.clone() })
}

/// A login as ours are: letters, digits and `._@+-`, beginning with a letter or digit.
fn login(issued: &Issued) -> String {
    let said = issued.login.as_deref().unwrap_or(&issued.external_id);
    let plain = said.chars().map(|character| {
        let fits = character.is_ascii_alphanumeric() || "._@+-".contains(character);
        if fits { character } else { '-' }
    });
    // Room for a number at its end.
    let login: String = plain.skip_while(|character| !character.is_ascii_alphanumeric()).take(MAX_LOGIN - 4).collect();
    if login.is_empty() { "user".to_owned() } else { login }
}

fn fits_title(title: &str) -> bool {
    !title.is_empty() && title.chars().count() <= 200 && !title.chars().any(char::is_control)
}

/// Those of the named departments that there are, in the order in which they were named.
async fn departments(store: &TenantStore, issued: &Issued) -> Result<Vec<DepartmentId>, Refusal> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for name in issued.departments.iter().flatten() {
        let Ok(name) = name.parse::<DepartmentName>() else { continue };
        if found.len() == MAX_DEPARTMENTS {
            break;
        }
        if let Some(department) = store.department_by_name(name.as_str()).await?
            && seen.insert(department.id)
        {
            found.push(department.id);
        }
    }
    Ok(found)
}

fn actor(issuer: &IssuerRecord) -> Actor {
    Actor {
        tenant: Some(issuer.tenant),
        name: format!("issuer {}", issuer.name),
        trace_id: Some(trace_id()),
        ..Actor::default()
    }
}
