//! Long work on what is sealed: one replica does it, the next one goes on where it was.

use std::time::Duration;

use store::{JobState, JobTaken, VaultJob};
use uuid::Uuid;

use crate::house::House;

const LONG: Duration = Duration::from_secs(300);

fn taken(outcome: JobTaken) -> VaultJob {
    match outcome {
        JobTaken::Taken(job) => job,
        JobTaken::Busy(job) => panic!("busy: {job:?}"),
    }
}

#[tokio::test]
async fn a_job_that_was_left_goes_on_where_it_was() {
    let house = House::new().await;
    let (platform, tenant) = (house.store.platform(), house.tenant("acme").await.id());
    let [one, two] = [1, 2].map(Uuid::from_u128);
    let job = taken(platform.take_vault_job("data", Some(tenant), one, 40, LONG).await.unwrap());
    assert_eq!((job.cursor.as_deref(), job.done, job.total, job.state), (None, 0, 40, JobState::Running));
    assert!(matches!(platform.take_vault_job("data", Some(tenant), two, 41, LONG).await.unwrap(), JobTaken::Busy(_)));
    // Another tenant's is another one.
    taken(platform.take_vault_job("data", None, two, 3, LONG).await.unwrap());
    assert!(platform.advance_vault_job(&job, Some("here"), 20, Duration::ZERO).await.unwrap());
    let next = taken(platform.take_vault_job("data", Some(tenant), two, 41, LONG).await.unwrap());
    assert_eq!((next.cursor.as_deref(), next.done, next.total, next.owner), (Some("here"), 20, 40, two));
    assert!(!platform.advance_vault_job(&job, Some("back"), 5, LONG).await.unwrap(), "it is another's by now");
    assert!(!platform.end_vault_job(&job, None).await.unwrap());
    assert!(platform.end_vault_job(&next, None).await.unwrap());
    assert!(!platform.advance_vault_job(&next, None, 50, LONG).await.unwrap());
    let jobs = platform.vault_jobs().await.unwrap();
    let shown = jobs.iter().find(|job| job.tenant == Some(tenant)).unwrap();
    assert_eq!((shown.state, shown.done), (JobState::Done, 20));
    let again = taken(platform.take_vault_job("data", Some(tenant), one, 50, LONG).await.unwrap());
    assert_eq!((&again.cursor, again.done, again.total), (&None, 0, 50), "from its beginning");
    assert!(platform.end_vault_job(&again, Some("no key")).await.unwrap());
    let jobs = platform.vault_jobs().await.unwrap();
    assert!(jobs.iter().any(|job| job.state == JobState::Failed && job.failure.as_deref() == Some("no key")));
}

#[tokio::test]
async fn of_any_number_of_replicas_one_takes_a_job() {
    let house = House::new().await;
    let second = house.second_process().await;
    let race = (0..8u128).map(|number| {
        let platform = if number % 2 == 0 { house.store.platform() } else { second.platform() };
        tokio::spawn(async move {
            let outcome = platform.take_vault_job("kek", None, Uuid::from_u128(number + 1), 1, LONG).await;
            matches!(outcome.unwrap(), JobTaken::Taken(_))
        })
    });
    let taken = futures::future::join_all(race).await.into_iter().filter(|one| *one.as_ref().unwrap()).count();
    assert_eq!(taken, 1);
}
