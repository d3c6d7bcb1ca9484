//! From a push to a change of the table, and from what became of it to the answer.

use std::collections::{HashMap, HashSet};

use model::{Digest, Resource, ResourceKind, ResourceName, Revision};
use wire::{Collected, PushHead, Refusal, Rejected, Upsert};

use crate::table::Change;

/// Whether a push may be applied to a table that is at `at`.
pub(super) fn refusal(head: &PushHead, at: Revision) -> Option<Refusal> {
    // The same revision is no step back: control heals a table that has drifted without any change.
    if head.revision < at {
        return Some(Refusal::StaleRevision);
    }
    (head.revision.epoch != at.epoch && !head.snapshot).then_some(Refusal::SnapshotNeeded)
}

/// Whether a push takes something away that a restart without control must not bring back.
pub(super) fn takes_away(push: &Collected) -> bool {
    push.head.urgent
        || push.head.snapshot
        || push.removes.iter().any(|name| match name.kind() {
            ResourceKind::Egress
            | ResourceKind::Key
            | ResourceKind::User
            | ResourceKind::Issuer
            | ResourceKind::Signer => true,
            // What is said of a grant is taken back when its last token has ended. Of a connection that is gone a
            // restart knows no header lines.
            ResourceKind::Tenant
            | ResourceKind::Server
            | ResourceKind::Revoked
            | ResourceKind::Connection
            | ResourceKind::Toolset => false,
        })
        || push.upserts.iter().any(|upsert| match upsert {
            Upsert::Read(Resource::Egress(_) | Resource::Revoked(_)) => true,
            Upsert::Read(resource) => keeps_out(resource),
            Upsert::Unreadable { .. } => false,
        })
}

/// Whether a resource keeps somebody out by being there: a user who may not come in and whom some issuer might send as
/// a stranger, or a tenant that lets in nobody whom control signs in.
fn keeps_out(resource: &Resource) -> bool {
    match resource {
        Resource::User(user) => !user.active,
        Resource::Tenant(tenant) => !tenant.authorization_server,
        _ => false,
    }
}

/// Whether a push has resources that keep somebody out and were not held so before. Not all of them take the place of a
/// version that was revoked, but a restart must not forget them either.
pub(super) fn shuts_out(push: &Collected, held: &[(ResourceName, Digest)]) -> bool {
    let keep_out: HashMap<ResourceName, Digest> = push
        .upserts
        .iter()
        .filter_map(|upsert| match upsert {
            Upsert::Read(resource) if keeps_out(resource) => Some((resource.name(), resource.digest())),
            Upsert::Read(_) | Upsert::Unreadable { .. } => None,
        })
        .collect();
    let known = held.iter().filter(|(name, digest)| keep_out.get(name) == Some(digest)).count();
    known < keep_out.len()
}

/// The change that a push asks for, and the resources that could not be read.
pub(super) fn change(push: Collected, held: &[(ResourceName, Digest)]) -> (Change, Vec<Rejected>) {
    let mut upserts: Vec<Resource> = Vec::with_capacity(push.upserts.len());
    let mut rejected = Vec::new();
    for upsert in push.upserts {
        match upsert {
            Upsert::Read(resource) => upserts.push(resource),
            Upsert::Unreadable { name, why } => rejected.push(Rejected { name, reason: why.to_string() }),
        }
    }
    if !push.head.snapshot {
        return (Change { replace_all: false, upserts, removes: push.removes }, rejected);
    }
    if rejected.is_empty() {
        return (Change { replace_all: true, upserts, removes: vec![] }, rejected);
    }
    // What could not be read keeps its last good version, so the rest is removed by name.
    let unreadable: HashSet<&str> = rejected.iter().map(|rejected| rejected.name.as_str()).collect();
    let named: HashSet<ResourceName> = upserts.iter().map(Resource::name).collect();
    let goes = |name: &&ResourceName| !named.contains(name) && !unreadable.contains(name.to_string().as_str());
    let removes = held.iter().map(|(name, _)| name).filter(goes).copied().collect();
    (Change { replace_all: false, upserts, removes }, rejected)
}

/// What must never serve again after a change: versions of what lets somebody in or out that were held before it and
/// are not any more, tenants that are gone, and the grants that were taken back by it.
pub(super) fn revoked(
    before: &[(ResourceName, Digest)],
    after_all: &[(ResourceName, Digest)],
) -> Vec<(ResourceName, Digest)> {
    let after: HashSet<_> = after_all.iter().copied().collect();
    let names: HashSet<_> = after.iter().map(|(name, _)| *name).collect();
    let gone = |(name, digest): &(ResourceName, Digest)| match name.kind() {
        ResourceKind::Key | ResourceKind::Egress | ResourceKind::User | ResourceKind::Issuer | ResourceKind::Signer => {
            !after.contains(&(*name, *digest))
        }
        // A tenant whose limits changed is no revocation.
        ResourceKind::Tenant => !names.contains(name),
        ResourceKind::Server | ResourceKind::Revoked | ResourceKind::Connection | ResourceKind::Toolset => false,
    };
    let held: HashSet<_> = before.iter().map(|(name, _)| *name).collect();
    let taken_back = |(name, _): &&(ResourceName, Digest)| name.kind() == ResourceKind::Revoked && !held.contains(name);
    before.iter().filter(|held| gone(held)).chain(after_all.iter().filter(taken_back)).copied().collect()
}

#[cfg(test)]
mod tests {
    use model::{KeyId, Limits, ServerId, TenantId, TenantSpec};

    use super::*;

    fn at(epoch: i64, seq: i64) -> Revision {
        Revision { epoch, seq }
    }

    fn head(revision: Revision, snapshot: bool) -> PushHead {
        PushHead { nonce: 1, revision, snapshot, urgent: false }
    }

    #[test]
    fn a_table_never_goes_back_and_changes_epochs_only_whole() {
        let now = at(2, 10);
        for (revision, snapshot, expected) in [
            (at(2, 11), false, None),
            (at(2, 10), false, None),
            (at(2, 9), false, Some(Refusal::StaleRevision)),
            (at(2, 9), true, Some(Refusal::StaleRevision)),
            (at(1, 99), true, Some(Refusal::StaleRevision)),
            (at(3, 1), false, Some(Refusal::SnapshotNeeded)),
            (at(3, 1), true, None),
        ] {
            assert_eq!(refusal(&head(revision, snapshot), now), expected, "{revision} {snapshot}");
        }
    }

    fn tenant(number: u128) -> Resource {
        Resource::Tenant(TenantSpec {
            id: TenantId(uuid::Uuid::from_u128(number)),
            name: format!("tenant-{number}").parse().unwrap(),
            limits: Limits::default(),
            stale_after: Some(model::TenantSpec::STALE_AFTER),
            authorization_server: false,
        })
    }

    #[test]
    fn an_unreadable_resource_of_a_snapshot_keeps_its_last_good_version() {
        let held: Vec<_> = (1..=3).map(|n| (tenant(n).name(), tenant(n).digest())).collect();
        let why = wire::Malformed { field: "tenant.name", reason: "bad".into() };
        let unreadable = Upsert::Unreadable { name: held[1].0.to_string(), why };
        let upserts = vec![Upsert::Read(tenant(1)), unreadable];
        let push = Collected { head: head(at(1, 1), true), upserts, removes: vec![] };
        let (change, rejected) = change(push, &held);
        assert!(!change.replace_all);
        assert_eq!(change.removes, vec![tenant(3).name()]);
        assert_eq!(rejected[0].name, held[1].0.to_string());
        assert!(rejected[0].reason.contains("tenant.name"));
    }

    #[test]
    fn only_what_is_taken_away_counts_as_revoked() {
        let rule = ResourceName::Egress(model::EgressRuleId(uuid::Uuid::nil()));
        let key: KeyId = "0123456789abcdef".parse().unwrap();
        let (key, server) = (ResourceName::Key(key), ResourceName::Server(ServerId(uuid::Uuid::nil())));
        let tenant = tenant(1).name();
        let [old, new] = [Digest([1; 32]), Digest([2; 32])];
        let before = [(key, old), (server, old), (tenant, old), (rule, old)];
        assert_eq!(revoked(&before, &before), vec![]);
        assert_eq!(revoked(&before, &[(key, new), (tenant, new), (rule, new)]), vec![(key, old), (rule, old)]);
        assert_eq!(revoked(&before, &[]), vec![(key, old), (tenant, old), (rule, old)]);
        let id = uuid::Uuid::nil();
        for name in [
            ResourceName::User(model::UserId(id)),
            ResourceName::Issuer(model::IssuerId(id)),
            ResourceName::Signer(model::SignerId(id)),
        ] {
            assert_eq!(revoked(&[(name, old)], &[]), vec![(name, old)]);
            assert_eq!(revoked(&[(name, old)], &[(name, new)]), vec![(name, old)]);
            assert_eq!(revoked(&[], &[(name, old)]), vec![]);
        }
        // A grant is taken back by what comes.
        let grant = ResourceName::Revoked(model::GrantId(id));
        assert_eq!(revoked(&[], &[(grant, old)]), vec![(grant, old)]);
        assert_eq!(revoked(&[(grant, old)], &[(grant, old)]), vec![]);
        assert_eq!(revoked(&[(grant, old)], &[]), vec![]);
    }
}
