//! The intended state: whole, or what changed of it since a revision, each as one consistent read.

pub(crate) mod connections;
mod reading;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use model::{KeyId, Resource, ResourceName, Revision, TenantId};
use sea_orm::{
    ColumnTrait, Condition, DatabaseTransaction, DbBackend, EntityTrait, IsolationLevel, JoinType, QueryFilter,
    QueryOrder, QuerySelect, RelationDef, TransactionOptions,
};
use uuid::Uuid;

use self::connections::Told;
use self::reading::Reading;
use super::{PlatformStore, revision};
use crate::StoreError;
use crate::entity::{
    api_key, connection, department, egress_rule, issuer, membership, oauth_grant, outbox, server, signer, tenant,
    toolset, user,
};
use crate::timed::Timed;

/// Changes beyond which reading everything is cheaper than reading each.
const MAX_CHANGES: usize = 1_000;

/// What should be in force, as it was at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntendedState {
    /// Which one.
    pub revision: Revision,
    /// Active tenants, their enabled live servers, their keys that work, their users, those who may not come in
    /// included, their enabled identity providers, their toolsets, the grants that were taken back lately, and the
    /// connections of what of these is live; egress rules and signers.
    pub resources: Vec<Resource>,
    /// The pools whose proxies serve each of the tenants.
    pub pools: HashMap<TenantId, Vec<String>>,
    /// Records that can't be read, and are held back.
    pub unreadable: Vec<Unreadable>,
}

/// A record that can't be read. It holds up no other: a revocation must reach the proxies whatever else is
/// wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its name; `None` if not even that can be read.
    pub name: Option<ResourceName>,
    /// Its name as it stands in the database.
    pub text: String,
    /// Whose it is; `None` for what is for all.
    pub tenant: Option<TenantId>,
    /// What is wrong.
    pub reason: String,
}

/// One committed change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// The revision that holds it.
    pub revision: Revision,
    /// When it was made, microseconds since 1970.
    pub at: i64,
    /// It takes something away from somebody: a revocation.
    pub urgent: bool,
}

/// What happened since a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    Unchanged,
    /// Some resources changed.
    Changed {
        /// Which, and whose they are: what is named here and is not among the resources is no longer intended.
        /// A tenant stands for all that belongs to it.
        named: Vec<(ResourceName, Option<TenantId>)>,
        /// The named resources as they are now.
        state: IntendedState,
        /// When these changes were committed, in their order.
        commits: Vec<Commit>,
    },
    /// It can't be told: the revision is none of this history, its outbox rows are gone, or there are too many.
    Lost,
}

impl PlatformStore {
    /// The whole intended state, in twelve queries.
    pub async fn intended(&self) -> Result<IntendedState, StoreError> {
        let tx = self.snapshot().await?;
        let revision = revision::read(&tx).await?;
        let state = self.read(&tx, revision, None).await?;
        tx.rollback().await?;
        Ok(state)
    }

    /// What changed of the intended state after `after`, read by name: at most thirteen queries, two if nothing did.
    pub async fn tail(&self, after: Revision) -> Result<Tail, StoreError> {
        let tx = self.snapshot().await?;
        let revision = revision::read(&tx).await?;
        if revision == after {
            tx.rollback().await?;
            return Ok(Tail::Unchanged);
        }
        if revision.epoch != after.epoch || revision < after {
            tx.rollback().await?;
            return Ok(Tail::Lost);
        }
        let rows = outbox::Entity::find()
            .filter(outbox::Column::Seq.gt(after.seq))
            .order_by_asc(outbox::Column::Seq)
            .limit(MAX_CHANGES as u64 + 1)
            .all(&tx)
            .await?;
        let Some(named) = contiguous(&rows, after.seq, revision.seq) else {
            tx.rollback().await?;
            return Ok(Tail::Lost);
        };
        let state = self.read(&tx, revision, Some(&Named::of(&named))).await?;
        tx.rollback().await?;
        Ok(Tail::Changed { named, state, commits: commits(revision.epoch, &rows) })
    }

    /// A SQLite transaction reads one snapshot by itself; PostgreSQL must be asked for one.
    async fn snapshot(&self) -> Result<Timed<DatabaseTransaction>, StoreError> {
        let db = &self.store.inner.read;
        let isolation_level =
            (db.get_database_backend() == DbBackend::Postgres).then_some(IsolationLevel::RepeatableRead);
        Ok(db.begin_with_options(TransactionOptions { isolation_level, ..Default::default() }).await?)
    }

    /// Reads everything, or what is named.
    async fn read(
        &self,
        tx: &Timed<DatabaseTransaction>,
        revision: Revision,
        only: Option<&Named>,
    ) -> Result<IntendedState, StoreError> {
        let mut reading = Reading::new(revision);
        if only.is_none_or(|named| !named.concerned.is_empty()) {
            let mut tenants = tenant::Entity::find()
                .filter(tenant::Column::Active.eq(true))
                .filter(tenant::Column::DeletedAt.is_null());
            if let Some(named) = only {
                tenants = tenants.filter(tenant::Column::Id.is_in(named.concerned.iter().copied()));
            }
            let told = |id: &Uuid| only.is_none_or(|named| named.tenants.contains(id));
            for row in tenants.all(tx).await? {
                reading.tenant(row, told);
            }
        }
        if only.is_none_or(|named| !named.tenants.is_empty() || !named.servers.is_empty()) {
            let mut servers = server::Entity::find()
                .filter(server::Column::Enabled.eq(true))
                .filter(server::Column::DeletedAt.is_null());
            if let Some(named) = only {
                let ids = server::Column::Id.is_in(named.servers.iter().copied());
                servers = servers.filter(named.condition(server::Column::TenantId, Some(ids)));
            }
            servers.all(tx).await?.into_iter().for_each(|row| reading.server(row));
        }
        if only.is_none_or(|named| !named.tenants.is_empty() || !named.keys.is_empty()) {
            let unexpired = Condition::any()
                .add(api_key::Column::ExpiresAt.is_null())
                .add(api_key::Column::ExpiresAt.gt(self.store.now()));
            let mut keys = api_key::Entity::find().filter(api_key::Column::RevokedAt.is_null()).filter(unexpired);
            if let Some(named) = only {
                let ids = api_key::Column::Id.is_in(named.keys.iter().map(KeyId::as_str));
                keys = keys.filter(named.condition(api_key::Column::TenantId, Some(ids)));
            }
            let keys = keys.join(JoinType::LeftJoin, user_of_key()).select_also(user::Entity);
            keys.all(tx).await?.into_iter().for_each(|(key, user)| reading.key(key, user));
        }
        if only.is_none_or(|named| !named.tenants.is_empty() || !named.rules.is_empty()) {
            let mut rules = egress_rule::Entity::find();
            if let Some(named) = only {
                let ids = egress_rule::Column::Id.is_in(named.rules.iter().copied());
                let of_tenants = egress_rule::Column::TenantId.is_in(named.tenants.iter().copied());
                rules = rules.filter(Condition::any().add(ids).add(of_tenants));
            }
            rules.all(tx).await?.into_iter().for_each(|row| reading.rule(row));
        }
        if only.is_none_or(|named| !named.tenants.is_empty() || !named.users.is_empty()) {
            self.read_users(tx, only, &mut reading).await?;
        }
        if only.is_none_or(|named| !named.tenants.is_empty() || !named.issuers.is_empty()) {
            let mut issuers = issuer::Entity::find().filter(issuer::Column::Enabled.eq(true));
            if let Some(named) = only {
                let ids = issuer::Column::Id.is_in(named.issuers.iter().copied());
                issuers = issuers.filter(named.condition(issuer::Column::TenantId, Some(ids)));
            }
            issuers.all(tx).await?.into_iter().for_each(|row| reading.issuer(row));
        }
        if only.is_none_or(|named| !named.signers.is_empty()) {
            let mut signers = signer::Entity::find();
            if let Some(named) = only {
                signers = signers.filter(signer::Column::Id.is_in(named.signers.iter().copied()));
            }
            signers.all(tx).await?.into_iter().for_each(|row| reading.signer(row));
        }
        if only.is_none_or(|named| !named.tenants.is_empty() || !named.grants.is_empty()) {
            let mut grants = oauth_grant::Entity::find().filter(oauth_grant::Column::RevokedAt.is_not_null());
            if let Some(named) = only {
                let ids = oauth_grant::Column::Id.is_in(named.grants.iter().copied());
                grants = grants.filter(named.condition(oauth_grant::Column::TenantId, Some(ids)));
            }
            let names = grants.select_only().columns([oauth_grant::Column::TenantId, oauth_grant::Column::Id]);
            let names = names.into_tuple::<(Uuid, Uuid)>().all(tx).await?;
            names.into_iter().for_each(|(tenant, grant)| reading.revoked(tenant, grant));
        }
        if only.is_none_or(|named| !named.tenants.is_empty() || !named.connections.is_empty()) {
            let mut connections = connections::intended(connection::Entity::find());
            if let Some(named) = only {
                let ids = connection::Column::Id.is_in(named.connections.iter().copied());
                connections = connections.filter(named.condition(connection::Column::TenantId, Some(ids)));
            }
            let rows = connections::columns(connections).into_model::<Told>().all(tx).await?;
            rows.into_iter().for_each(|row| reading.connection(row));
        }
        if only.is_none_or(|named| !named.tenants.is_empty() || !named.toolsets.is_empty()) {
            let mut toolsets = toolset::Entity::find();
            if let Some(named) = only {
                let ids = toolset::Column::Id.is_in(named.toolsets.iter().copied());
                toolsets = toolsets.filter(named.condition(toolset::Column::TenantId, Some(ids)));
            }
            toolsets.all(tx).await?.into_iter().for_each(|row| reading.toolset(row));
        }
        Ok(reading.state)
    }

    /// Users, deleted ones too, each with the names of the departments in their order.
    async fn read_users(
        &self,
        tx: &Timed<DatabaseTransaction>,
        only: Option<&Named>,
        reading: &mut Reading,
    ) -> Result<(), StoreError> {
        let mut users = user::Entity::find();
        let mut memberships = membership::Entity::find()
            .join(JoinType::InnerJoin, department_of_membership())
            .filter(department::Column::DeletedAt.is_null())
            .select_only()
            .columns([membership::Column::TenantId, membership::Column::UserId])
            .column(membership::Column::Position)
            .column(department::Column::Name);
        if let Some(named) = only {
            let ids = user::Column::Id.is_in(named.users.iter().copied());
            users = users.filter(named.condition(user::Column::TenantId, Some(ids)));
            let theirs = membership::Column::UserId.is_in(named.users.iter().copied());
            memberships = memberships.filter(named.condition(membership::Column::TenantId, Some(theirs)));
        }
        let mut departments: HashMap<(Uuid, Uuid), Vec<(i32, String)>> = HashMap::new();
        for (tenant, user, position, name) in memberships.into_tuple::<(Uuid, Uuid, i32, String)>().all(tx).await? {
            departments.entry((tenant, user)).or_default().push((position, name));
        }
        for row in users.all(tx).await? {
            let mut theirs = departments.remove(&(row.tenant_id, row.id)).unwrap_or_default();
            theirs.sort_unstable();
            reading.user(row, theirs.into_iter().map(|(_, name)| name).collect());
        }
        Ok(())
    }
}

/// Memberships carry their tenant, so both columns.
fn department_of_membership() -> RelationDef {
    membership::Entity::belongs_to(department::Entity)
        .from((membership::Column::TenantId, membership::Column::DepartmentId))
        .to((department::Column::TenantId, department::Column::Id))
        .into()
}

/// Keys carry their tenant, so both columns.
fn user_of_key() -> RelationDef {
    api_key::Entity::belongs_to(user::Entity)
        .from((api_key::Column::TenantId, api_key::Column::UserId))
        .to((user::Column::TenantId, user::Column::Id))
        .into()
}

/// What the rows name, if they are all that happened between the two: every seq has a row until it is pruned.
fn contiguous(rows: &[outbox::Model], after: i64, until: i64) -> Option<Vec<(ResourceName, Option<TenantId>)>> {
    if rows.len() > MAX_CHANGES {
        return None;
    }
    let seqs: BTreeSet<i64> = rows.iter().map(|row| row.seq).collect();
    let whole = i64::try_from(seqs.len()).ok()? == until - after && seqs.last() == Some(&until);
    let named = rows.iter().map(|row| Some((row.name.parse().ok()?, row.tenant_id.map(TenantId))));
    // Each once, in the order of its last change.
    let mut seen = HashSet::new();
    let mut named: Vec<_> =
        named.rev().collect::<Option<Vec<_>>>()?.into_iter().filter(|(name, _)| seen.insert(*name)).collect();
    named.reverse();
    whole.then_some(named)
}

/// One for each seq, in its order.
fn commits(epoch: i64, rows: &[outbox::Model]) -> Vec<Commit> {
    let mut commits: BTreeMap<i64, Commit> = BTreeMap::new();
    for row in rows {
        let commit = Commit { revision: Revision { epoch, seq: row.seq }, at: row.created_at, urgent: false };
        commits.entry(row.seq).or_insert(commit).urgent |= row.urgent;
    }
    commits.into_values().collect()
}

/// The named resources, by table.
#[derive(Default)]
struct Named {
    /// Tenants that are named themselves: all of theirs is read.
    tenants: HashSet<Uuid>,
    /// Tenants of which anything is named.
    concerned: HashSet<Uuid>,
    servers: Vec<Uuid>,
    keys: Vec<KeyId>,
    rules: Vec<Uuid>,
    users: Vec<Uuid>,
    issuers: Vec<Uuid>,
    signers: Vec<Uuid>,
    grants: Vec<Uuid>,
    connections: Vec<Uuid>,
    toolsets: Vec<Uuid>,
}

impl Named {
    fn of(names: &[(ResourceName, Option<TenantId>)]) -> Self {
        let mut named = Self::default();
        for (name, tenant) in names {
            named.concerned.extend(tenant.map(|tenant| tenant.0));
            match name {
                ResourceName::Tenant(id) => {
                    named.concerned.insert(id.0);
                    named.tenants.insert(id.0);
                }
                ResourceName::Server(id) => named.servers.push(id.0),
                ResourceName::Key(id) => named.keys.push(*id),
                ResourceName::Egress(id) => named.rules.push(id.0),
                ResourceName::User(id) => named.users.push(id.0),
                ResourceName::Issuer(id) => named.issuers.push(id.0),
                ResourceName::Signer(id) => named.signers.push(id.0),
                ResourceName::Revoked(id) => named.grants.push(id.0),
                ResourceName::Connection(id) => named.connections.push(id.0),
                ResourceName::Toolset(id) => named.toolsets.push(id.0),
            }
        }
        named
    }

    /// Rows of the named tenants, and of the concerned ones those with these ids: with the tenant first, as the
    /// indexes are.
    fn condition(&self, tenant: impl ColumnTrait, ids: Option<sea_orm::sea_query::Expr>) -> Condition {
        let listed = Condition::all().add(tenant.is_in(self.concerned.iter().copied())).add_option(ids);
        Condition::any().add(tenant.is_in(self.tenants.iter().copied())).add(listed)
    }
}

#[cfg(test)]
mod tests {
    use model::ServerId;

    use super::*;

    fn row(seq: i64, server: u128) -> outbox::Model {
        let name = ResourceName::Server(ServerId(Uuid::from_u128(server))).to_string();
        outbox::Model { seq, name, tenant_id: None, removed: false, urgent: false, created_at: 0 }
    }

    fn servers(rows: &[outbox::Model], after: i64, until: i64) -> Option<Vec<u128>> {
        let named = contiguous(rows, after, until)?;
        let ids = named.into_iter().map(|(name, _)| match name {
            ResourceName::Server(id) => id.0.as_u128(),
            other => panic!("{other}"),
        });
        Some(ids.collect())
    }

    #[test]
    fn rows_count_only_without_a_gap() {
        let rows = [row(4, 1), row(5, 2), row(5, 3), row(6, 1)];
        assert_eq!(servers(&rows, 3, 6), Some(vec![2, 3, 1]), "each once");
        for (rows, after, until) in [(&rows[1..], 3, 6), (&rows[..3], 3, 6), (&rows[..], 2, 6), (&[][..], 3, 4)] {
            assert_eq!(servers(rows, after, until), None, "{after} {until}");
        }
        let odd = outbox::Model { name: "nonsense/1".to_owned(), ..row(4, 1) };
        assert_eq!(servers(&[odd], 3, 4), None);
        let many: Vec<_> = (0..=MAX_CHANGES as i64).map(|seq| row(seq + 1, 1)).collect();
        assert_eq!(servers(&many, 0, many.len() as i64), None);
    }
}
