//! Users, issuers, signers and revoked grants, there and back.

use model::{
    ClaimMapping, GrantId, IssuerId, IssuerSpec, RevokedGrant, SignerId, SignerSpec, SigningAlgorithm, UserId, UserSpec,
};

use super::role;
use crate::Malformed;
use crate::fields::{digest, parsed};
use crate::generated;

impl From<&UserSpec> for generated::User {
    fn from(user: &UserSpec) -> Self {
        Self {
            tenant: user.tenant.to_string(),
            login: user.login.clone(),
            external_id: user.external_id.clone(),
            role: user.role.as_str().to_owned(),
            active: user.active,
            departments: user.departments.clone(),
        }
    }
}

pub(super) fn user(id: UserId, body: generated::User) -> Result<UserSpec, Malformed> {
    Ok(UserSpec {
        id,
        tenant: parsed("user.tenant", &body.tenant)?,
        login: body.login,
        external_id: body.external_id,
        role: role("user.role", &body.role)?,
        active: body.active,
        departments: body.departments,
    })
}

impl From<&IssuerSpec> for generated::Issuer {
    fn from(issuer: &IssuerSpec) -> Self {
        Self {
            tenant: issuer.tenant.to_string(),
            issuer: issuer.issuer.clone(),
            audiences: issuer.audiences.clone(),
            algorithms: issuer.algorithms.iter().map(|algorithm| algorithm.as_str().to_owned()).collect(),
            claims: Some((&issuer.claims).into()),
            scope: issuer.scope.clone(),
            unknown_users: issuer.unknown_users,
            mcp: issuer.mcp,
            keys: issuer.keys.clone(),
            keys_until: issuer.keys_until,
        }
    }
}

impl From<&ClaimMapping> for generated::ClaimMapping {
    fn from(claims: &ClaimMapping) -> Self {
        let roles = claims.roles.iter();
        let roles =
            roles.map(|(value, role)| generated::RoleValue { value: value.clone(), role: role.as_str().into() });
        Self {
            login: claims.login.clone(),
            external_id: claims.external_id.clone(),
            departments: claims.departments.clone(),
            role: claims.role.clone(),
            roles: roles.collect(),
        }
    }
}

pub(super) fn issuer(id: IssuerId, body: generated::Issuer) -> Result<IssuerSpec, Malformed> {
    let algorithms = body.algorithms.iter().map(|name| {
        SigningAlgorithm::parse(name).ok_or_else(|| Malformed::new("issuer.algorithms", "no such algorithm"))
    });
    let claims = body.claims.ok_or_else(|| Malformed::missing("issuer.claims"))?;
    let roles = claims.roles.into_iter().map(|one| Ok((one.value, role("issuer.claims.roles", &one.role)?)));
    Ok(IssuerSpec {
        id,
        tenant: parsed("issuer.tenant", &body.tenant)?,
        issuer: body.issuer,
        audiences: body.audiences,
        algorithms: algorithms.collect::<Result<_, _>>()?,
        claims: ClaimMapping {
            login: claims.login,
            external_id: claims.external_id,
            departments: claims.departments,
            role: claims.role,
            roles: roles.collect::<Result<_, Malformed>>()?,
        },
        scope: body.scope,
        unknown_users: body.unknown_users,
        mcp: body.mcp,
        keys: body.keys,
        keys_until: body.keys_until,
    })
}

impl From<&SignerSpec> for generated::Signer {
    fn from(signer: &SignerSpec) -> Self {
        Self { url: signer.url.clone(), public: signer.public.to_vec(), until: signer.until }
    }
}

pub(super) fn signer(id: SignerId, body: generated::Signer) -> Result<SignerSpec, Malformed> {
    let public = digest("signer.public", &body.public)?.0;
    Ok(SignerSpec { id, url: body.url, public, until: body.until })
}

impl From<&RevokedGrant> for generated::RevokedGrant {
    fn from(grant: &RevokedGrant) -> Self {
        Self { tenant: grant.tenant.to_string() }
    }
}

pub(super) fn revoked(id: GrantId, body: &generated::RevokedGrant) -> Result<RevokedGrant, Malformed> {
    Ok(RevokedGrant { id, tenant: parsed("revoked.tenant", &body.tenant)? })
}

#[cfg(test)]
pub(super) mod tests {
    use model::{KeyRole, Resource, TenantId};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn tenant() -> impl Strategy<Value = TenantId> {
        any::<u128>().prop_map(|id| TenantId(Uuid::from_u128(id)))
    }

    fn texts() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec(".{0,8}", 0..4)
    }

    fn user() -> impl Strategy<Value = Resource> {
        let roles = prop::sample::select(KeyRole::ALL.to_vec());
        (any::<u128>(), tenant(), ".{0,12}", prop::option::of(".{0,12}"), roles, any::<bool>(), texts()).prop_map(
            |(id, tenant, login, external_id, role, active, departments)| {
                let id = UserId(Uuid::from_u128(id));
                Resource::User(UserSpec { id, tenant, login, external_id, role, active, departments })
            },
        )
    }

    fn claims() -> impl Strategy<Value = ClaimMapping> {
        let values = prop::collection::vec((".{0,8}", prop::sample::select(KeyRole::ALL.to_vec())), 0..3);
        let names = any::<[Option<u8>; 2]>();
        ("[a-z]{1,8}", "[a-z]{1,8}", names, values).prop_map(|(login, external_id, [departments, role], roles)| {
            let name = |number: Option<u8>| number.map(|number| format!("claim{number}"));
            ClaimMapping { login, external_id, departments: name(departments), role: name(role), roles }
        })
    }

    fn issuer() -> impl Strategy<Value = Resource> {
        let algorithms = prop::sample::subsequence(SigningAlgorithm::ALL.to_vec(), 0..=3);
        let lists = (texts(), algorithms, claims(), prop::option::of("[a-z]{1,8}"));
        let rest = (any::<[bool; 2]>(), ".{0,40}", any::<i64>());
        (any::<u128>(), tenant(), "[a-z]{1,12}", lists, rest).prop_map(|(id, tenant, host, lists, rest)| {
            let (audiences, algorithms, claims, scope) = lists;
            let ([unknown_users, mcp], keys, keys_until) = rest;
            Resource::Issuer(IssuerSpec {
                id: IssuerId(Uuid::from_u128(id)),
                tenant,
                issuer: format!("https://{host}.example"),
                audiences,
                algorithms,
                claims,
                scope,
                unknown_users,
                mcp,
                keys,
                keys_until,
            })
        })
    }

    /// What says whose tokens are believed.
    pub(crate) fn trusted() -> impl Strategy<Value = Resource> {
        let signer =
            (any::<u128>(), "[a-z]{1,12}", any::<[u8; 32]>(), any::<i64>()).prop_map(|(id, host, public, until)| {
                let id = SignerId(Uuid::from_u128(id));
                Resource::Signer(SignerSpec { id, url: format!("https://{host}"), public, until })
            });
        let revoked = (any::<u128>(), tenant())
            .prop_map(|(id, tenant)| Resource::Revoked(RevokedGrant { id: GrantId(Uuid::from_u128(id)), tenant }));
        prop_oneof![user(), issuer(), signer, revoked]
    }
}
