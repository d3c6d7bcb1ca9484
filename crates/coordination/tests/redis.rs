//! Two replicas over a real Redis, which is stopped, emptied and frozen under them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use coordination::{Coordination, Mark};

const LONG: Duration = Duration::from_secs(60);

/// A Redis of this test's own.
struct Server {
    port: u16,
    process: Child,
}

impl Server {
    fn start(port: u16) -> Self {
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("redis-server is needed (make test installs it): {error}"));
        Self { port, process }
    }

    fn somewhere() -> Self {
        Self::start(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port())
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn replica(&self) -> Coordination {
        Coordination::over_redis(&self.url()).unwrap()
    }

    fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been stopped already.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// Hints until the other replica hears one: the subscription may not be there yet.
async fn heard(from: &Coordination, at: &Coordination) {
    let mut hints = at.hints("changes");
    let telling = async {
        loop {
            from.hint("changes").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = hints.next() => (),
        () = telling => (),
        () = tokio::time::sleep(LONG) => panic!("no hint came"),
    }
}

/// Sets fresh marks until Redis answers again.
async fn usable_again(replica: &Coordination) {
    for number in 0.. {
        if replica.mark(&format!("try {number}"), LONG).await == Mark::Set {
            return;
        }
        assert!(number < 600, "Redis is not used again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn replicas_hear_each_other_and_only_one_sets_a_mark() {
    let redis = Server::somewhere();
    let (one, two) = (redis.replica(), redis.replica());
    usable_again(&one).await;
    usable_again(&two).await;
    heard(&one, &two).await;
    heard(&two, &one).await;
    assert_eq!(one.mark("sweep", LONG).await, Mark::Set);
    assert_eq!(two.mark("sweep", LONG).await, Mark::Taken);
    assert_eq!(two.mark("soon over", Duration::from_millis(1)).await, Mark::Set);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(one.mark("soon over", LONG).await, Mark::Set);
}

#[tokio::test]
async fn without_redis_this_process_hears_itself_and_nothing_waits() {
    let mut redis = Server::somewhere();
    let (one, two) = (redis.replica(), redis.replica());
    usable_again(&one).await;
    heard(&one, &two).await;
    redis.stop();
    let mut own = one.hints("changes");
    one.hint("changes").await;
    own.next().await;
    assert_eq!(one.mark("sweep", LONG).await, Mark::Unknown);
    assert!(one.degraded() > 0);
    // It comes back empty, at the same address.
    let _again = Server::start(redis.port);
    usable_again(&one).await;
    heard(&two, &one).await;
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_without_being_repeated() {
    for url in ["", "http://127.0.0.1", "redis://:hunter2@"] {
        let error = Coordination::over_redis(url).err().map(|error| error.to_string());
        assert!(error.is_none_or(|text| !text.contains("hunter2")), "{url}");
    }
    assert!(Coordination::over_redis("http://127.0.0.1").is_err());
}
