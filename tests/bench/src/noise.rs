//! How much of the machine others used meanwhile: the first question about any figure.

/// What the machine and this process, with its ended children, had used at the begin.
pub(crate) struct Noise {
    machine: u64,
    idle: u64,
    ours: u64,
}

impl Noise {
    /// Reads the counters.
    pub(crate) fn begin() -> Self {
        let (machine, idle) = machine();
        Self { machine, idle, ours: ours() }
    }

    /// Reads them again, when every child has ended, and says what it means.
    pub(crate) fn end(self) -> String {
        let (machine, idle) = machine();
        let all = machine.saturating_sub(self.machine).max(1);
        let busy = all.saturating_sub(idle.saturating_sub(self.idle));
        let ours = ours().saturating_sub(self.ours);
        let others = busy.saturating_sub(ours) as f64 / all as f64;
        let word = if others > 0.03 {
            "NOT QUIET: rates and latencies are spoiled, CPU per request is less so"
        } else {
            "quiet"
        };
        format!("others used {:.1} % of the machine during the run: {word}", others * 100.0)
    }
}

/// All ticks of all cores, and the idle ones among them.
fn machine() -> (u64, u64) {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks: Vec<u64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|tick| tick.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; guest time is in user already.
    let idle = ticks.iter().skip(3).take(2).sum();
    (ticks.iter().take(8).sum(), idle)
}

/// Ticks of this process and of its children that were waited for.
fn ours() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name before the last bracket may hold spaces; utime is the 12th word behind it.
    let behind = stat.rsplit_once(')').map(|(_, behind)| behind).unwrap_or_default();
    behind.split_whitespace().skip(11).take(4).filter_map(|tick| tick.parse::<u64>().ok()).sum()
}
