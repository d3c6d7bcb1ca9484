//! Egress rules: made once, told to proxies, taken away urgently.

use model::{EgressRuleId, Generation, ResourceName, TenantId};
use store::{EgressRulePage, NewEgressRule, StoreError};

use crate::house::{House, START, actor};

fn rule(host: &str) -> NewEgressRule {
    NewEgressRule {
        tenant: None,
        host: host.parse().unwrap(),
        ports: Some((8000, 8100)),
        http: true,
        reason: "in the cluster".to_owned(),
    }
}

fn all() -> EgressRulePage {
    EgressRulePage { limit: 100, ..EgressRulePage::default() }
}

#[tokio::test]
async fn a_created_rule_is_read_back_the_same_and_intended() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let platform = house.store.platform();
    let mut expected = Vec::new();
    for new in [
        rule("notes.internal"),
        NewEgressRule { tenant: Some(tenant.id()), ports: None, http: false, ..rule("10.1.0.0/16") },
        NewEgressRule { ports: Some((443, 443)), ..rule("fd00::1") },
    ] {
        let made = platform.create_egress_rule(&actor(), new.clone()).await.unwrap();
        let told = platform.outbox_since(made.revision.seq - 1, 9).await.unwrap();
        let told: Vec<_> = told.into_iter().map(|row| (row.name, row.removed, row.urgent)).collect();
        let record = made.value;
        assert_eq!(told, [(ResourceName::Egress(record.rule.id), false, false)]);
        assert_eq!((record.rule.tenant, &record.rule.host, record.rule.ports), (new.tenant, &new.host, new.ports));
        assert_eq!((record.created_by.as_deref(), record.created_at), (Some("adminadminadmin0"), START));
        assert_eq!(platform.egress_rule(record.rule.id).await.unwrap(), Some(record.clone()));
        expected.push(record);
    }
    assert_eq!(platform.egress_rules(all()).await.unwrap(), expected);
    let one = EgressRulePage { tenant: Some(tenant.id()), ..all() };
    assert_eq!(platform.egress_rules(one).await.unwrap(), expected[1..2]);
    let after = EgressRulePage { after: Some(expected[0].rule.id), limit: 1, ..Default::default() };
    assert_eq!(platform.egress_rules(after).await.unwrap(), expected[1..2]);
    for (search, found) in [("INTERNAL", 1), ("%", 0), ("cluster", 3), ("fd00", 1)] {
        let page = EgressRulePage { search: Some(search.to_owned()), ..all() };
        assert_eq!(platform.egress_rules(page).await.unwrap().len(), found, "{search}");
    }
}

#[tokio::test]
async fn the_same_rule_is_made_once_whatever_its_reason() {
    let house = House::new().await;
    let tasks: Vec<_> = (0..10)
        .map(|number| {
            let platform = house.store.platform();
            let new = NewEgressRule { reason: format!("reason {number}"), ..rule("notes.internal") };
            tokio::spawn(async move { platform.create_egress_rule(&actor(), new).await })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => made += 1,
            Err(refused) => assert!(matches!(refused, StoreError::RuleTaken), "{refused:?}"),
        }
    }
    assert_eq!(made, 1);
    let tenant = house.tenant("acme").await;
    for other in [
        rule("wiki.internal"),
        NewEgressRule { ports: None, ..rule("notes.internal") },
        NewEgressRule { http: false, ..rule("notes.internal") },
        NewEgressRule { tenant: Some(tenant.id()), ..rule("notes.internal") },
    ] {
        house.store.platform().create_egress_rule(&actor(), other).await.unwrap();
    }
}

#[tokio::test]
async fn a_rule_is_for_a_tenant_that_is() {
    let house = House::new().await;
    let gone = house.tenant("acme").await.id();
    house.store.platform().delete_tenant(&actor(), gone, None).await.unwrap();
    for tenant in [gone, TenantId::fresh()] {
        let new = NewEgressRule { tenant: Some(tenant), ..rule("notes.internal") };
        let refused = house.store.platform().create_egress_rule(&actor(), new).await;
        assert!(matches!(refused, Err(StoreError::NotFound)));
    }
}

#[tokio::test]
async fn a_rule_is_taken_away_urgently_and_for_good() {
    let house = House::new().await;
    let platform = house.store.platform();
    let made = platform.create_egress_rule(&actor(), rule("notes.internal")).await.unwrap();
    let id = made.value.rule.id;
    let stale = platform.delete_egress_rule(&actor(), id, Some(Generation(2))).await;
    assert!(matches!(stale, Err(StoreError::Stale { current: Generation(1) })));
    platform.delete_egress_rule(&actor(), id, Some(Generation(1))).await.unwrap();
    let told = platform.outbox_since(made.revision.seq, 9).await.unwrap();
    let told: Vec<_> = told.into_iter().map(|row| (row.name, row.removed, row.urgent)).collect();
    assert_eq!(told, [(ResourceName::Egress(id), true, true)]);
    assert_eq!(platform.egress_rule(id).await.unwrap(), None);
    for id in [id, EgressRuleId::fresh()] {
        assert!(matches!(platform.delete_egress_rule(&actor(), id, None).await, Err(StoreError::NotFound)));
    }
}
