//! Tenants, revision, outbox, sealed envelopes and proxies.

use model::{Limits, Revision, TenantId};
use store::{AskedCommand, AuditPage, NewTenant, ProxyStatus, ServerPage, StoreError, TenantPage};

use crate::house::{House, START, actor, server};

#[tokio::test]
async fn a_created_tenant_is_read_back_the_same() {
    let house = House::new().await;
    let acme = house.tenant_with("acme", Limits::generous()).await;
    let other = house.tenant_with("other", Limits::default()).await;
    let platform = house.store.platform();
    assert_eq!(acme.created_at, START);
    assert_eq!(platform.tenant_by_name("acme").await.unwrap(), Some(acme.clone()));
    assert_eq!(platform.tenant(acme.spec.id).await.unwrap(), Some(acme.clone()));
    assert_eq!(platform.tenants(TenantPage { limit: 10, ..Default::default() }).await.unwrap(), [acme, other]);
    assert_eq!(platform.tenant_by_name("none").await.unwrap(), None);
    assert_eq!(platform.tenant(TenantId::fresh()).await.unwrap(), None);
}

#[tokio::test]
async fn a_tenants_name_is_unique() {
    let house = House::new().await;
    house.tenant("acme").await;
    let again = NewTenant::new("acme".parse().unwrap());
    assert!(matches!(house.store.platform().create_tenant(&actor(), again).await, Err(StoreError::NameTaken)));
}

#[tokio::test]
async fn every_change_raises_the_seq_by_one_and_wakes_who_waits() {
    let house = House::new().await;
    let mut changes = house.store.changes();
    assert_eq!(*changes.borrow_and_update(), Revision { epoch: START, seq: 0 });
    let tenant = house.tenant("acme").await;
    let committed = tenant.create_server(&actor(), server("notes")).await.unwrap();
    assert_eq!(committed.revision, Revision { epoch: START, seq: 2 });
    assert!(changes.has_changed().unwrap());
    assert_eq!(*changes.borrow_and_update(), committed.revision);
    assert_eq!(house.store.platform().revision().await.unwrap(), committed.revision);

    assert!(tenant.create_server(&actor(), server("notes")).await.is_err());
    assert!(!changes.has_changed().unwrap(), "a refused change wakes nobody");
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_half_change_and_no_lock() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    for number in 0..20u32 {
        let task = tokio::spawn({
            let tenant = tenant.clone();
            async move { tenant.create_server(&actor(), server(&format!("s{number}"))).await }
        });
        for _ in 0..number {
            tokio::task::yield_now().await;
        }
        task.abort();
        let _ = task.await;
    }
    let last = tenant.create_server(&actor(), server("last")).await.unwrap();
    let servers = tenant.servers(ServerPage { limit: 100, ..Default::default() }).await.unwrap();
    assert_eq!(last.revision.seq, 1 + servers.len() as i64, "as many seqs as records");
    assert_eq!(*house.store.changes().borrow(), last.revision);
    assert_eq!(tenant.audit(AuditPage { limit: 100, ..Default::default() }).await.unwrap().len(), 1 + servers.len());
}

#[tokio::test]
async fn a_raised_epoch_is_newer_than_every_revision_before() {
    let house = House::new().await;
    house.tenant("acme").await;
    let old = house.store.platform().revision().await.unwrap();
    let changes = house.store.changes();
    let above = Revision { seq: old.seq + 1, ..old };
    let counted = house.store.tally().changes();
    let new = house.store.platform().raise_epoch(above).await.unwrap();
    assert!(new > old && new.seq == old.seq);
    house.clock.advance_micros(-1_000_000);
    assert_eq!(house.store.platform().raise_epoch(above).await.unwrap(), new, "it is above already");
    assert_eq!(house.store.platform().raise_epoch(new).await.unwrap(), new);
    let newest = house.store.platform().raise_epoch(Revision { seq: new.seq + 1, ..new }).await.unwrap();
    assert!(newest > new, "even with the clock set back");
    assert_eq!(house.store.platform().revision().await.unwrap(), newest);
    assert_eq!(*changes.borrow(), newest);
    assert_eq!(house.store.tally().changes(), counted + 2, "each with its audit row");
}

#[tokio::test]
async fn outbox_rows_come_in_order_bounded_and_can_be_pruned() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    for number in 0..5 {
        house.clock.advance_micros(10);
        tenant.create_server(&actor(), server(&format!("s{number}"))).await.unwrap();
    }
    let platform = house.store.platform();
    let seqs = async |since, limit| -> Vec<i64> {
        platform.outbox_since(since, limit).await.unwrap().iter().map(|row| row.seq).collect()
    };
    assert_eq!(seqs(0, 100).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(seqs(2, 2).await, [3, 4]);
    assert_eq!(platform.prune_outbox(START + 30).await.unwrap(), 3);
    assert_eq!(seqs(0, 100).await, [4, 5, 6]);
    assert_eq!(seqs(6, 100).await, [0; 0]);
}

#[tokio::test]
async fn sealed_envelopes_are_kept_byte_for_byte_and_replaced() {
    let house = House::new().await;
    let platform = house.store.platform();
    assert_eq!(platform.sealed("fleet").await.unwrap(), None);
    for bytes in [vec![0, 255, 1, 128], vec![]] {
        platform.put_sealed("fleet", bytes.clone()).await.unwrap();
        assert_eq!(platform.sealed("fleet").await.unwrap(), Some(bytes));
    }
    assert_eq!(platform.sealed("other").await.unwrap(), None);
}

#[tokio::test]
async fn of_those_who_replace_an_envelope_at_once_one_does() {
    let house = House::new().await;
    let platform = house.store.platform();
    let store = &house.store;
    let replace = |before: Option<&'static [u8]>, bytes: u8| async move {
        store.platform().replace_sealed("fleet", before, vec![bytes]).await.unwrap()
    };
    let first = tokio::join!(replace(None, 1), replace(None, 2), replace(None, 3));
    assert_eq!([first.0, first.1, first.2].iter().filter(|won| **won).count(), 1);
    platform.put_sealed("fleet", vec![7]).await.unwrap();
    assert!(!replace(None, 4).await && !replace(Some(&[8]), 4).await);
    let second = tokio::join!(replace(Some(&[7]), 5), replace(Some(&[7]), 6));
    assert_ne!(second.0, second.1);
    assert_eq!(platform.sealed("fleet").await.unwrap(), Some(vec![if second.0 { 5 } else { 6 }]));
}

#[tokio::test]
async fn proxies_are_kept_by_node_and_forgotten_when_unseen() {
    let house = House::new().await;
    let platform = house.store.platform();
    let status = |node: &str, last_seen| status(node, "one", last_seen);
    platform.put_proxy_statuses(vec![status("default/a", 1), status("default/b", 5)]).await.unwrap();
    platform.put_proxy_statuses(vec![status("default/a", 9), status("default/c", 7)]).await.unwrap();
    platform.remove_proxy_statuses("another", vec!["default/b".to_owned()]).await.unwrap();
    platform.remove_proxy_statuses("one", vec!["default/c".to_owned()]).await.unwrap();
    let seen = async |since| platform.proxy_statuses(since).await.unwrap();
    assert_eq!(seen(0).await, [status("default/a", 9), status("default/b", 5)]);
    assert_eq!(seen(6).await, [status("default/a", 9)]);
    assert_eq!(platform.forget_proxies(9).await.unwrap(), 1);
    assert_eq!(seen(0).await, [status("default/a", 9)]);
}

#[tokio::test]
async fn the_row_of_a_later_stream_stays() {
    let house = House::new().await;
    let platform = house.store.platform();
    let moved = status("default/a", "two", 20);
    platform.put_proxy_statuses(vec![moved.clone()]).await.unwrap();
    let left = ProxyStatus { since: 10, attached: false, ..status("default/a", "one", 30) };
    platform.put_proxy_statuses(vec![left, status("default/b", "one", 3)]).await.unwrap();
    assert_eq!(platform.proxy_statuses(0).await.unwrap(), [moved, status("default/b", "one", 3)]);
}

#[tokio::test]
async fn thousands_of_proxies_are_a_few_statements() {
    let house = House::new().await;
    let platform = house.store.platform();
    let rows: Vec<_> = (0..1_200).map(|number| status(&format!("default/{number}"), "one", 1_200 - number)).collect();
    let before: u64 = house.store.tally().statements().0.iter().sum();
    platform.put_proxy_statuses(rows.clone()).await.unwrap();
    assert_eq!(house.store.tally().statements().0.iter().sum::<u64>() - before, 3);
    assert_eq!(platform.proxy_statuses(0).await.unwrap(), rows);
}

fn status(node: &str, replica: &str, last_seen: i64) -> ProxyStatus {
    ProxyStatus {
        node: node.to_owned(),
        pool: "default".to_owned(),
        instance: "folder".to_owned(),
        replica: replica.to_owned(),
        attached: true,
        since: last_seen,
        applied: Revision { epoch: 1, seq: last_seen },
        digest_matches: true,
        mounts: 2,
        last_seen,
        rejected: "{}".to_owned(),
        peer_address: Some(format!("{node}:5015")),
    }
}

#[tokio::test]
async fn a_command_is_taken_once_and_answered_by_who_took_it() {
    let house = House::new().await;
    let platform = house.store.platform();
    let put = async |node: &str| platform.put_command("asker", node, b"work".to_vec(), START + 100).await.unwrap();
    let (first, second) = (put("default/a").await, put("default/b").await);
    let open = async || platform.open_commands().await.unwrap().into_iter().map(|open| open.id).collect::<Vec<_>>();
    assert_eq!(open().await, [first, second]);
    let taken = futures::future::join_all(["one", "two", "three"].map(|replica| platform.take_command(first, replica)));
    let taken: Vec<_> = taken.await.into_iter().map(Result::unwrap).collect();
    assert_eq!(taken.iter().filter(|taken| **taken).count(), 1);
    let winner = ["one", "two", "three"][taken.iter().position(|taken| *taken).unwrap()];
    assert_eq!(open().await, [second]);
    assert!(!platform.withdraw_command(first).await.unwrap(), "it may have been done");
    assert!(platform.withdraw_command(second).await.unwrap());
    assert!(!platform.take_command(second, "one").await.unwrap());
    assert!(!platform.answer_command(first, "four", b"no".to_vec()).await.unwrap());
    assert!(platform.answer_command(first, winner, b"yes".to_vec()).await.unwrap());
    let asked = platform.asked_commands("asker").await.unwrap();
    let answered = AskedCommand { id: first, taken_by: Some(winner.to_owned()), answer: Some(b"yes".to_vec()) };
    assert_eq!(asked, [answered]);
    assert_eq!(platform.asked_commands(winner).await.unwrap(), []);
    platform.drop_commands(vec![first]).await.unwrap();
    assert_eq!(platform.asked_commands("asker").await.unwrap(), []);
}

#[tokio::test]
async fn a_command_that_nobody_waits_for_is_not_taken_and_goes() {
    let house = House::new().await;
    let platform = house.store.platform();
    platform.put_command("asker", "default/a", vec![], START + 100).await.unwrap();
    house.clock.advance_micros(100);
    assert_eq!(platform.open_commands().await.unwrap(), []);
    assert_eq!(platform.purge_commands(START + 100).await.unwrap(), 0);
    assert_eq!(platform.purge_commands(START + 101).await.unwrap(), 1);
}
