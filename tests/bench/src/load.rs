//! Closed and open loops: who asks when, and what is counted meanwhile.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::BenchError;
use crate::child::Child;
use crate::client::ClientError;
use crate::session::{Session, Target};

/// What one request of a load is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// tools/call with a text of 100 bytes, given back.
    Echo,
    /// The same, spread over `s0` to `s{n-1}` of the aggregate.
    EchoOver(usize),
    /// The same as requests of the stateless era, each of which stands alone.
    Stateless,
    /// The same, spread over `s0` to `s{n-1}` of the aggregate.
    StatelessOver(usize),
    /// tools/call with a text of 100 bytes, given back as an event.
    Sse,
    /// tools/call with a result of so many bytes.
    Big(usize),
    /// tools/list.
    List,
    /// tools/list, page by page, until it has given so many tools.
    Pages(usize),
    /// gatehouse__search_tools, one question after another.
    Search,
    /// initialize and initialized: a new session each time, never ended.
    Open,
    /// initialize at an upstream that is down: the honest error.
    Refused,
}

impl Ask {
    /// Whether it is asked within one session, which is to be ended afterwards.
    fn has_session(self) -> bool {
        !matches!(self, Self::Open | Self::Refused | Self::Stateless | Self::StatelessOver(_))
    }
}

/// What one run of a load gave.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub(crate) struct Figures {
    /// Verified answers.
    pub(crate) requests: u64,
    /// Verified answers per second.
    pub(crate) rate: f64,
    /// Median latency in microseconds.
    pub(crate) p50_us: f64,
    /// 99th percentile of the latency in microseconds.
    pub(crate) p99_us: f64,
    /// CPU time of the process under test per request, in microseconds; 0 where there is none.
    pub(crate) cpu_us: f64,
    /// Most resident memory of the process under test, in MiB; 0 where there is none.
    pub(crate) peak_mib: f64,
}

/// How long a load runs in before it counts.
const WARM: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Warm,
    Counting,
    Over,
}

/// Codes of an upstream that is down: unavailable (cooling as well), timed out.
const DOWN: [i32; 2] = [-31001, -31002];

/// `concurrency` sessions, each asking again as soon as it is answered, for `time`.
pub(crate) async fn closed(
    target: &Target,
    ask: Ask,
    concurrency: usize,
    time: Duration,
    tested: Option<&Child>,
) -> Result<Figures, BenchError> {
    let sessions = connect_all(target, ask, concurrency).await?;
    let stage = Rc::new(Cell::new(Stage::Warm));
    let mut running = JoinSet::new();
    for mut session in sessions {
        let stage = Rc::clone(&stage);
        running.spawn_local(async move {
            let mut latencies = Vec::new();
            while stage.get() != Stage::Over {
                let begin = Instant::now();
                once(&mut session, ask).await?;
                if stage.get() == Stage::Counting {
                    latencies.push(begin.elapsed());
                }
            }
            if ask.has_session() {
                session.close().await?;
            }
            Ok::<_, ClientError>(latencies)
        });
    }
    tokio::time::sleep(WARM).await;
    let watch = Watch::begin(tested)?;
    stage.set(Stage::Counting);
    tokio::time::sleep(time).await;
    stage.set(Stage::Over);
    let seen = watch.end()?;
    let mut latencies = Vec::new();
    while let Some(done) = running.join_next().await {
        latencies.extend(done??);
    }
    Ok(seen.figures(latencies))
}

/// One session that asks at fixed moments; the latency counts from the due moment, so that a
/// stall is not hidden by the questions that it kept from being asked.
pub(crate) async fn steady(
    target: &Target,
    ask: Ask,
    per_second: u32,
    time: Duration,
    tested: Option<&Child>,
) -> Result<Figures, BenchError> {
    let mut session = connect(target, ask).await?;
    for _ in 0..20 {
        once(&mut session, ask).await?;
    }
    let gap = Duration::from_secs(1) / per_second;
    let asks = (time.as_secs_f64() * f64::from(per_second)) as usize;
    let mut latencies = Vec::with_capacity(asks);
    let watch = Watch::begin(tested)?;
    let mut due = Instant::now();
    for _ in 0..asks {
        due += gap;
        until(due).await;
        once(&mut session, ask).await?;
        latencies.push(due.elapsed());
    }
    let seen = watch.end()?;
    if ask.has_session() {
        session.close().await?;
    }
    Ok(seen.figures(latencies))
}

/// Waits to the microsecond: the timer wakes by milliseconds, so the last two are spun away.
async fn until(due: Instant) {
    tokio::time::sleep_until(due - Duration::from_millis(2)).await;
    while Instant::now() < due {
        tokio::task::yield_now().await;
    }
}

/// Opens `count` sessions at once, at most 32 at a time, ready for `ask`.
pub(crate) async fn connect_all(target: &Target, ask: Ask, count: usize) -> Result<Vec<Session>, BenchError> {
    let mut opened = Vec::with_capacity(count);
    let mut opening = JoinSet::new();
    for _ in 0..count {
        if opening.len() == 32 {
            opened.extend(opening.join_next().await.transpose()?.transpose()?);
        }
        let target = target.clone();
        opening.spawn_local(async move { connect(&target, ask).await });
    }
    while let Some(done) = opening.join_next().await {
        opened.push(done??);
    }
    Ok(opened)
}

/// Asks `count` times in one session.
pub(crate) async fn times(session: &mut Session, ask: Ask, count: u64) -> Result<(), ClientError> {
    for _ in 0..count {
        once(session, ask).await?;
    }
    Ok(())
}

/// Opens `count` sessions on 32 connections, calls once in each, and leaves them open.
pub(crate) async fn leave(target: &Target, count: usize) -> Result<(), BenchError> {
    let mut leaving = JoinSet::new();
    for part in 0..32 {
        let target = target.clone();
        leaving.spawn_local(async move {
            let mut session = Session::connect(&target).await?;
            for _ in 0..count / 32 + usize::from(part < count % 32) {
                session.initialize().await?;
                once(&mut session, Ask::Echo).await?;
            }
            Ok::<_, ClientError>(())
        });
    }
    while let Some(done) = leaving.join_next().await {
        done??;
    }
    // The other side takes a moment to notice that the connections are closed.
    tokio::time::sleep(WARM).await;
    Ok(())
}

/// A session that is ready for `ask`, or a connection where that needs none.
pub(crate) async fn connect(target: &Target, ask: Ask) -> Result<Session, ClientError> {
    match ask {
        Ask::Open | Ask::Refused | Ask::Stateless => Session::connect(target).await,
        Ask::StatelessOver(servers) => {
            let mut connection = Session::connect(target).await?;
            for server in 0..servers {
                connection.echo_stateless(&format!("s{server}__"), &text(next_seed())).await?;
            }
            Ok(connection)
        }
        Ask::EchoOver(servers) => {
            let mut session = Session::open(target).await?;
            // So that the sessions of all the upstreams are open before anything counts.
            for server in 0..servers {
                session.echo_at(&format!("s{server}__"), "echo", &text(next_seed())).await?;
            }
            Ok(session)
        }
        _ => Session::open(target).await,
    }
}

async fn once(session: &mut Session, ask: Ask) -> Result<(), ClientError> {
    let seed = next_seed();
    match ask {
        Ask::Echo => session.echo("echo", &text(seed)).await,
        Ask::EchoOver(servers) => {
            session.echo_at(&format!("s{}__", seed as usize % servers.max(1)), "echo", &text(seed)).await
        }
        Ask::Stateless => session.stateless(&text(seed)).await,
        Ask::StatelessOver(servers) => {
            session.echo_stateless(&format!("s{}__", seed as usize % servers.max(1)), &text(seed)).await
        }
        Ask::Sse => session.echo("sse", &text(seed)).await,
        Ask::Big(bytes) => session.big(bytes, &text(seed)).await,
        Ask::List => session.list(20).await,
        Ask::Pages(tools) => session.pages(tools).await,
        Ask::Search => {
            const LOOKED_FOR: [&str; 4] =
                ["open a ticket", "refund a payment", "rows of a table that match", "which tests fail now and then"];
            let question = LOOKED_FOR.get(seed as usize % LOOKED_FOR.len()).copied().unwrap_or_default();
            session.search(question).await
        }
        Ask::Open => session.initialize().await,
        Ask::Refused => session.refused(&DOWN).await,
    }
}

static SEED: AtomicU64 = AtomicU64::new(0);

fn next_seed() -> u64 {
    SEED.fetch_add(1, Ordering::Relaxed)
}

/// A text of 100 bytes that no other request has.
pub(crate) fn text(seed: u64) -> String {
    format!("{seed:020}{:.>80}", "unique")
}

/// Reads the process under test at the begin and at the end of what counts.
struct Watch<'a> {
    tested: Option<&'a Child>,
    begin: Instant,
    cpu: Duration,
}

struct Seen {
    time: Duration,
    cpu: Duration,
    peak: u64,
}

impl<'a> Watch<'a> {
    fn begin(tested: Option<&'a Child>) -> Result<Self, BenchError> {
        let mut cpu = Duration::ZERO;
        if let Some(child) = tested {
            child.forget_peak()?;
            cpu = child.cpu()?;
        }
        Ok(Self { tested, begin: Instant::now(), cpu })
    }

    fn end(self) -> Result<Seen, BenchError> {
        let time = self.begin.elapsed();
        let (cpu, peak) = match self.tested {
            Some(child) => (child.cpu()?.saturating_sub(self.cpu), child.peak()?),
            None => (Duration::ZERO, 0),
        };
        Ok(Seen { time, cpu, peak })
    }
}

impl Seen {
    fn figures(&self, mut latencies: Vec<Duration>) -> Figures {
        latencies.sort_unstable();
        let requests = latencies.len();
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        Figures {
            requests: requests as u64,
            rate: requests as f64 / self.time.as_secs_f64(),
            p50_us: micros(percentile(&latencies, 50)),
            p99_us: micros(percentile(&latencies, 99)),
            cpu_us: micros(self.cpu) / requests.max(1) as f64,
            peak_mib: self.peak as f64 / (1024.0 * 1024.0),
        }
    }
}

/// The value below which `percent` of the sorted values lie; the default of an empty list.
pub(crate) fn percentile<T: Copy + Default>(sorted: &[T], percent: usize) -> T {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_100_bytes_and_differ() {
        assert_eq!(text(7).len(), 100);
        assert_ne!(text(7), text(8));
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<u32> = (1..=200).collect();
        assert_eq!((percentile(&values, 50), percentile(&values, 99)), (100, 198));
        assert_eq!((percentile(&[5u32], 99), percentile::<u32>(&[], 50)), (5, 0));
    }
}
