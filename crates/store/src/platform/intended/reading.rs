//! From rows to resources: whatever is wrong with one record holds up no other.

use std::collections::{HashMap, HashSet};

use model::{
    ConnectionId, EgressRuleId, GrantId, IssuerId, KeyRole, Resource, ResourceName, Revision, RevokedGrant, ServerId,
    SignerId, TenantId, ToolsetId,
};
use uuid::Uuid;

use super::connections::Told;
use super::{IntendedState, Unreadable};
use crate::entity::{api_key, egress_rule, issuer, server, signer, tenant, toolset, user};
use crate::user_record::spec_of;
use crate::{
    EgressRuleRecord, IssuerRecord, KeyRecord, ServerRecord, SignerRow, StoreError, TenantRecord, ToolsetRecord,
};

/// The rows as they become resources. A tenant's come before what belongs to it.
pub(super) struct Reading {
    pub(super) state: IntendedState,
    /// Tenants that are active, readable or not.
    active: HashSet<Uuid>,
}

impl Reading {
    pub(super) fn new(revision: Revision) -> Self {
        let state = IntendedState { revision, resources: vec![], pools: HashMap::new(), unreadable: vec![] };
        Self { state, active: HashSet::new() }
    }

    /// A tenant's pools are always wanted; the resource only if the tenant itself is.
    pub(super) fn tenant(&mut self, row: tenant::Model, told: impl Fn(&Uuid) -> bool) {
        self.active.insert(row.id);
        let (id, told) = (TenantId(row.id), told(&row.id));
        let name = ResourceName::Tenant(id);
        match TenantRecord::try_from(row) {
            Ok(record) => {
                self.state.pools.insert(id, record.pools);
                if told {
                    self.state.resources.push(Resource::Tenant(record.spec));
                }
            }
            Err(error) => self.held_back(Some(name), name.to_string(), Some(id), &error),
        }
    }

    pub(super) fn server(&mut self, row: server::Model) {
        if !self.active.contains(&row.tenant_id) {
            return;
        }
        let (tenant, name) = (TenantId(row.tenant_id), ResourceName::Server(ServerId(row.id)));
        match ServerRecord::try_from(row) {
            Ok(record) => self.state.resources.push(Resource::Server(record.spec)),
            Err(error) => self.held_back(Some(name), name.to_string(), Some(tenant), &error),
        }
    }

    /// A user's key does what both may do, and nothing once the user is gone.
    pub(super) fn key(&mut self, row: api_key::Model, user: Option<user::Model>) {
        let user = user.filter(|user| user.active && user.deleted_at.is_none());
        let orphaned = row.user_id.is_some() && user.is_none();
        if orphaned || !self.active.contains(&row.tenant_id) {
            return;
        }
        let tenant = TenantId(row.tenant_id);
        let name = row.id.parse().ok().map(ResourceName::Key);
        let text = format!("key/{}", row.id.escape_debug());
        let read = KeyRecord::try_from(row).and_then(|record| match user {
            None => Ok(record.verifier),
            Some(user) => {
                let role = KeyRole::parse(&user.role).ok_or(StoreError::Corrupt { what: "user.role" })?;
                Ok(record.narrowed(role))
            }
        });
        match read {
            Ok(verifier) => self.state.resources.push(Resource::Key(verifier)),
            Err(error) => self.held_back(name, text, Some(tenant), &error),
        }
    }

    pub(super) fn rule(&mut self, row: egress_rule::Model) {
        if row.tenant_id.is_some_and(|tenant| !self.active.contains(&tenant)) {
            return;
        }
        let (tenant, name) = (row.tenant_id.map(TenantId), ResourceName::Egress(EgressRuleId(row.id)));
        match EgressRuleRecord::try_from(row) {
            Ok(record) => self.state.resources.push(Resource::Egress(record.rule)),
            Err(error) => self.held_back(Some(name), name.to_string(), tenant, &error),
        }
    }

    /// Of a user whom nobody can judge proxies hold that nobody comes in: unknown to them, a stranger might.
    pub(super) fn user(&mut self, row: user::Model, departments: Vec<String>) {
        if !self.active.contains(&row.tenant_id) {
            return;
        }
        let (spec, read) = spec_of(row, departments);
        let (tenant, name) = (spec.tenant, ResourceName::User(spec.id));
        self.state.resources.push(Resource::User(spec));
        if let Err(error) = read {
            self.held_back(Some(name), name.to_string(), Some(tenant), &error);
        }
    }

    pub(super) fn issuer(&mut self, row: issuer::Model) {
        if !self.active.contains(&row.tenant_id) {
            return;
        }
        let (tenant, name) = (TenantId(row.tenant_id), ResourceName::Issuer(IssuerId(row.id)));
        match IssuerRecord::try_from(row) {
            Ok(record) => self.state.resources.push(Resource::Issuer(record.spec())),
            Err(error) => self.held_back(Some(name), name.to_string(), Some(tenant), &error),
        }
    }

    pub(super) fn signer(&mut self, row: signer::Model) {
        let name = ResourceName::Signer(SignerId(row.id));
        match SignerRow::try_from(row) {
            Ok(signer) => self.state.resources.push(Resource::Signer(signer.spec)),
            Err(error) => self.held_back(Some(name), name.to_string(), None, &error),
        }
    }

    pub(super) fn revoked(&mut self, tenant: Uuid, grant: Uuid) {
        if self.active.contains(&tenant) {
            let revoked = RevokedGrant { id: GrantId(grant), tenant: TenantId(tenant) };
            self.state.resources.push(Resource::Revoked(revoked));
        }
    }

    pub(super) fn connection(&mut self, row: Told) {
        if !self.active.contains(&row.tenant_id) {
            return;
        }
        let (tenant, name) = (TenantId(row.tenant_id), ResourceName::Connection(ConnectionId(row.id)));
        match row.spec() {
            Ok(spec) => self.state.resources.push(Resource::Connection(spec)),
            Err(error) => self.held_back(Some(name), name.to_string(), Some(tenant), &error),
        }
    }

    pub(super) fn toolset(&mut self, row: toolset::Model) {
        if !self.active.contains(&row.tenant_id) {
            return;
        }
        let (tenant, name) = (TenantId(row.tenant_id), ResourceName::Toolset(ToolsetId(row.id)));
        match ToolsetRecord::try_from(row) {
            Ok(record) => self.state.resources.push(Resource::Toolset(record.spec)),
            Err(error) => self.held_back(Some(name), name.to_string(), Some(tenant), &error),
        }
    }

    fn held_back(&mut self, name: Option<ResourceName>, text: String, tenant: Option<TenantId>, error: &StoreError) {
        tracing::error!(name = text, %error, alarm = true, "a stored record can't be read and is held back");
        self.state.unreadable.push(Unreadable { name, text, tenant, reason: error.to_string() });
    }
}
