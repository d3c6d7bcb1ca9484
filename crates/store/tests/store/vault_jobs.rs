//! Long work on what is sealed: one replica does it, the next one goes on where it was.

use std::time::Duration;

use store::{AuditPage, JobState};
use uuid::Uuid;

use crate::house::{House, actor};

const LONG: Duration = Duration::from_secs(300);

#[tokio::test]
async fn a_job_that_was_left_goes_on_where_it_was() {
    let house = House::new().await;
    let (platform, tenant) = (house.store.platform(), house.tenant("acme").await.id());
    let [one, two] = [1, 2].map(Uuid::from_u128);
    let take = async |tenant, owner| platform.take_vault_job("data", tenant, owner, LONG).await.unwrap();
    assert_eq!(take(Some(tenant), one).await, None, "nobody asked for it");
    platform.begin_vault_job(&actor(), "data", Some(tenant), 40).await.unwrap();
    let job = take(Some(tenant), one).await.unwrap();
    assert_eq!((job.cursor.as_deref(), job.done, job.total, job.state), (None, 0, 40, JobState::Running));
    assert_eq!(take(Some(tenant), two).await, None, "it is another's");
    // Another tenant's is another one.
    platform.begin_vault_job(&actor(), "data", None, 3).await.unwrap();
    assert!(take(None, two).await.is_some());
    assert!(platform.advance_vault_job(&job, Some("here"), 20, Duration::ZERO).await.unwrap());
    let asked = platform.begin_vault_job(&actor(), "data", Some(tenant), 41).await.unwrap();
    assert_eq!((asked.done, asked.total), (20, 40), "it is under way already");
    let next = take(Some(tenant), two).await.unwrap();
    assert_eq!((next.cursor.as_deref(), next.done, next.total, next.owner), (Some("here"), 20, 40, two));
    assert!(!platform.advance_vault_job(&job, Some("back"), 5, LONG).await.unwrap(), "it is another's by now");
    assert!(!platform.end_vault_job(&job, None).await.unwrap());
    assert!(platform.end_vault_job(&next, None).await.unwrap());
    assert!(!platform.advance_vault_job(&next, None, 50, LONG).await.unwrap());
    let jobs = platform.vault_jobs().await.unwrap();
    let shown = jobs.iter().find(|job| job.tenant == Some(tenant)).unwrap();
    assert_eq!((shown.state, shown.done), (JobState::Done, 20));
    assert_eq!(take(Some(tenant), one).await, None, "what has ended is nobody's to begin again");
    platform.begin_vault_job(&actor(), "data", Some(tenant), 50).await.unwrap();
    let again = take(Some(tenant), one).await.unwrap();
    assert_eq!((&again.cursor, again.done, again.total), (&None, 0, 50), "from its beginning");
    assert!(platform.end_vault_job(&again, Some("no key")).await.unwrap());
    let jobs = platform.vault_jobs().await.unwrap();
    assert!(jobs.iter().any(|job| job.state == JobState::Failed && job.failure.as_deref() == Some("no key")));
}

#[tokio::test]
async fn of_any_number_of_replicas_one_takes_a_job() {
    let house = House::new().await;
    let second = house.second_process().await;
    house.store.platform().begin_vault_job(&actor(), "kek", None, 1).await.unwrap();
    let race = (0..8u128).map(|number| {
        let platform = if number % 2 == 0 { house.store.platform() } else { second.platform() };
        tokio::spawn(async move {
            let outcome = platform.take_vault_job("kek", None, Uuid::from_u128(number + 1), LONG).await;
            outcome.unwrap().is_some()
        })
    });
    let taken = futures::future::join_all(race).await.into_iter().filter(|one| *one.as_ref().unwrap()).count();
    assert_eq!(taken, 1);
}

#[tokio::test]
async fn who_asked_for_a_job_stands_in_the_audit_when_it_begins_and_when_whoever_has_it_ends_it() {
    let house = House::new().await;
    let (platform, tenant) = (house.store.platform(), house.tenant("acme").await);
    let second = house.second_process().await;
    let race = (0..6).map(|number| {
        let platform = if number % 2 == 0 { house.store.platform() } else { second.platform() };
        let id = tenant.id();
        tokio::spawn(async move { platform.begin_vault_job(&actor(), "data", Some(id), 4).await.unwrap() })
    });
    futures::future::join_all(race).await.into_iter().for_each(|job| drop(job.unwrap()));
    let take = async |owner: u128, length| {
        let owner = Uuid::from_u128(owner);
        platform.take_vault_job("data", Some(tenant.id()), owner, length).await.unwrap().unwrap()
    };
    let left = take(1, Duration::ZERO).await;
    let job = take(2, LONG).await;
    assert!(!platform.end_vault_job(&left, None).await.unwrap(), "what is not done is not told of");
    assert!(platform.end_vault_job(&job, Some("no key")).await.unwrap());
    assert!(!platform.end_vault_job(&job, None).await.unwrap(), "it ends once");
    let audit = tenant.audit(AuditPage { limit: 100, ..Default::default() }).await.unwrap();
    let rows = audit.iter().filter(|row| row.object == "vault/data").rev();
    let rows: Vec<_> = rows.map(|row| (row.action.as_str(), row.actor.clone(), row.actor_kind.as_str())).collect();
    let (who, kind) = (actor().key.unwrap().to_string(), "key");
    assert_eq!(rows, [("vault.rotate", who.clone(), kind), ("vault.rotated", who, kind)]);
    let end = audit.iter().find(|row| row.action == "vault.rotated").unwrap();
    assert!(end.after.as_deref().is_some_and(|after| after.contains("no key")), "{:?}", end.after);
}

#[tokio::test]
async fn a_job_without_its_audit_row_never_began_and_never_ended() {
    let house = House::new().await;
    let (platform, owner) = (house.store.platform(), Uuid::from_u128(1));
    platform.begin_vault_job(&actor(), "kek", None, 1).await.unwrap();
    let job = platform.take_vault_job("kek", None, owner, LONG).await.unwrap().unwrap();
    house.refuse_rows_of("audit").await;
    platform.begin_vault_job(&actor(), "data", None, 1).await.unwrap_err();
    platform.end_vault_job(&job, None).await.unwrap_err();
    let jobs = platform.vault_jobs().await.unwrap();
    let states: Vec<_> = jobs.iter().map(|job| (job.what.as_str(), job.state)).collect();
    assert_eq!(states, [("kek", JobState::Running)]);
}
