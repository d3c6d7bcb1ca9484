//! Which address each listener has: what was asked for, what the folder remembers, what is free.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use serde::{Deserialize, Serialize};

use crate::args;
use crate::failure::Failure;
use crate::home::{self, Home};

/// The file's name in the data folder.
const FILE: &str = "ports.json";

/// The addresses of all listeners; port 0 stands for "any".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ports {
    /// REST and the status page.
    pub(crate) control: SocketAddr,
    /// MCP.
    pub(crate) mcp: SocketAddr,
    /// Where proxies attach.
    pub(crate) link: SocketAddr,
    /// Control's metrics.
    pub(crate) control_metrics: SocketAddr,
    /// The proxy's metrics.
    pub(crate) mcp_metrics: SocketAddr,
    /// Where other proxies reach the proxy. Not in folders of before there was such a listener.
    #[serde(default = "any")]
    pub(crate) mcp_peers: SocketAddr,
}

/// Any port.
fn any() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)
}

impl Ports {
    /// What the command line asks for. The listeners that it doesn't name stand on their known ports
    /// beside 5010 and 5011, and on free ones otherwise, so that two folders can run at once.
    pub(crate) fn asked(up: &args::Up) -> Result<Self, Failure> {
        let beside = |listener: SocketAddr, known: u16, port: u16| {
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), if listener.port() == known { port } else { 0 })
        };
        let asked = Self {
            control: up.control,
            mcp: up.mcp,
            link: up.link.unwrap_or_else(|| beside(up.control, 5010, 5012)),
            control_metrics: beside(up.control, 5010, 5014),
            mcp_metrics: beside(up.mcp, 5011, 5013),
            mcp_peers: beside(up.mcp, 5011, 5015),
        };
        match asked.each().into_iter().find(|address| !address.ip().is_loopback()) {
            Some(open) => Err(Failure::Usage(format!(
                "`up` is for this machine alone and listens on loopback, not on {open}: \
                 start gatehouse-control and gatehouse-proxy with a configuration of their own instead"
            ))),
            None => Ok(asked),
        }
    }

    /// The ports of the last `up` on this folder.
    pub(crate) fn of(home: &Home) -> Result<Option<Self>, Failure> {
        let path = home.file(FILE);
        let Some(text) = home::read_small(&path)? else { return Ok(None) };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| Failure::caused(format!("{} is no ports file", path.display()), error))
    }

    /// Remembers these ports in the folder.
    pub(crate) fn keep(&self, home: &Home) -> Result<(), Failure> {
        let text =
            serde_json::to_string_pretty(self).map_err(|error| Failure::caused("can't write the ports", error))?;
        home::replace(&home.file(FILE), 0o644, &(text + "\n"))
    }

    /// Fills each port 0 with the remembered one of the same listener and address, if there is one.
    pub(crate) fn or_remembered(self, remembered: Option<&Self>) -> Self {
        let Some(remembered) = remembered else { return self };
        self.zip(
            remembered,
            |asked, before| {
                if asked.port() == 0 && asked.ip() == before.ip() { before } else { asked }
            },
        )
    }

    /// Puts port 0 back where a port was not asked for and turned out to be taken.
    pub(crate) fn without(self, taken: &[SocketAddr], asked: &Self) -> Self {
        self.zip(asked, |chosen, asked| if asked.port() == 0 && taken.contains(&chosen) { asked } else { chosen })
    }

    /// Picks a free port for each port 0. All are held until the last is picked, so they differ.
    pub(crate) fn fill(self, mut free: impl FnMut(IpAddr) -> std::io::Result<Held>) -> std::io::Result<Self> {
        let mut held = Vec::new();
        let mut fill = |address: SocketAddr| {
            if address.port() != 0 {
                return Ok(address);
            }
            let picked = free(address.ip())?;
            let port = picked.port;
            held.push(picked);
            Ok::<_, std::io::Error>(SocketAddr::new(address.ip(), port))
        };
        Ok(Self {
            control: fill(self.control)?,
            mcp: fill(self.mcp)?,
            link: fill(self.link)?,
            control_metrics: fill(self.control_metrics)?,
            mcp_metrics: fill(self.mcp_metrics)?,
            mcp_peers: fill(self.mcp_peers)?,
        })
    }

    /// Every listener's address.
    pub(crate) fn each(&self) -> [SocketAddr; 6] {
        [self.control, self.mcp, self.link, self.control_metrics, self.mcp_metrics, self.mcp_peers]
    }

    /// Where REST and the status page are.
    pub(crate) fn control_url(&self) -> String {
        format!("http://{}", self.control)
    }

    /// Where MCP is; paths such as `/mcp` follow.
    pub(crate) fn mcp_url(&self) -> String {
        format!("http://{}", self.mcp)
    }

    fn zip(self, other: &Self, one: impl Fn(SocketAddr, SocketAddr) -> SocketAddr) -> Self {
        Self {
            control: one(self.control, other.control),
            mcp: one(self.mcp, other.mcp),
            link: one(self.link, other.link),
            control_metrics: one(self.control_metrics, other.control_metrics),
            mcp_metrics: one(self.mcp_metrics, other.mcp_metrics),
            mcp_peers: one(self.mcp_peers, other.mcp_peers),
        }
    }
}

/// A free port that nobody else gets while this lives.
pub(crate) struct Held {
    port: u16,
    _listener: Option<TcpListener>,
}

/// Where free ports are picked: below the range from which the system gives ports to outgoing
/// connections, or one of those could sit on the port while a process is being restarted.
const PICKED: std::ops::Range<u16> = 10_000..32_768;
/// Ports that are tried before there counts as none free.
const TRIES: usize = 1_000;

/// Takes a free port of this address.
pub(crate) fn take_free(ip: IpAddr) -> std::io::Result<Held> {
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for _ in 0..TRIES {
        // Keyed anew each time: the standard library's source of randomness.
        let random = RandomState::new().build_hasher().finish() % u64::from(PICKED.end - PICKED.start);
        let port = PICKED.start.saturating_add(u16::try_from(random).unwrap_or(0));
        match TcpListener::bind((ip, port)) {
            Ok(listener) => return Ok(Held { port, _listener: Some(listener) }),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Whether somebody listens there already.
pub(crate) fn is_taken(address: SocketAddr) -> bool {
    address.port() != 0 && TcpListener::bind(address).is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(numbers: [u16; 6]) -> Ports {
        let [control, mcp, link, control_metrics, mcp_metrics, mcp_peers] =
            numbers.map(|port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
        Ports { control, mcp, link, control_metrics, mcp_metrics, mcp_peers }
    }

    fn asked(control: &str, mcp: &str, link: Option<&str>) -> Result<Ports, Failure> {
        Ports::asked(&args::Up {
            control: control.parse().unwrap(),
            mcp: mcp.parse().unwrap(),
            link: link.map(|link| link.parse().unwrap()),
            ready_json: false,
            new_keys: false,
            no_restart: false,
        })
    }

    fn counting() -> impl FnMut(IpAddr) -> std::io::Result<Held> {
        let mut next = 100;
        move |_| {
            next += 1;
            Ok(Held { port: next, _listener: None })
        }
    }

    #[test]
    fn listeners_that_are_not_named_stand_beside_the_known_ones() {
        for (control, mcp, link, expected) in [
            ("127.0.0.1:5010", "127.0.0.1:5011", None, [5010, 5011, 5012, 5014, 5013, 5015]),
            ("127.0.0.1:0", "127.0.0.1:0", None, [0, 0, 0, 0, 0, 0]),
            ("127.0.0.1:6000", "127.0.0.1:5011", None, [6000, 5011, 0, 0, 5013, 5015]),
            ("127.0.0.1:5010", "127.0.0.1:0", Some("127.0.0.1:7"), [5010, 0, 7, 5014, 0, 0]),
        ] {
            assert_eq!(asked(control, mcp, link).unwrap(), ports(expected), "{control} {mcp}");
        }
    }

    #[test]
    fn up_listens_on_loopback_only() {
        for (control, mcp, link) in [
            ("0.0.0.0:5010", "127.0.0.1:5011", None),
            ("127.0.0.1:5010", "[::]:5011", None),
            ("127.0.0.1:5010", "127.0.0.1:5011", Some("10.0.0.1:1")),
        ] {
            assert_eq!(asked(control, mcp, link).unwrap_err().exit_code(), 2);
        }
        assert!(asked("[::1]:5010", "127.0.0.1:5011", None).is_ok());
    }

    #[test]
    fn a_free_port_is_picked_once_per_folder() {
        let any = ports([0, 0, 0, 0, 0, 0]);
        let first = any.or_remembered(None).fill(counting()).unwrap();
        assert_eq!(first, ports([101, 102, 103, 104, 105, 106]));
        assert_eq!(any.or_remembered(Some(&first)).fill(counting()).unwrap(), first);
    }

    #[test]
    fn a_named_port_beats_the_remembered_one() {
        let remembered = ports([1, 2, 3, 4, 5, 6]);
        assert_eq!(ports([9, 0, 0, 0, 0, 0]).or_remembered(Some(&remembered)), ports([9, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn only_a_port_that_was_not_asked_for_gives_way() {
        let chosen = ports([9, 2, 3, 4, 5, 6]);
        let taken = [chosen.control, chosen.mcp];
        assert_eq!(chosen.without(&taken, &ports([9, 0, 0, 0, 0, 0])), ports([9, 0, 3, 4, 5, 6]));
    }

    #[test]
    fn ports_come_back_as_they_were_kept() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::find(Some(folder.path())).unwrap();
        assert_eq!(Ports::of(&home).unwrap(), None);
        let kept = ports([1, 2, 3, 4, 5, 6]);
        kept.keep(&home).unwrap();
        assert_eq!(Ports::of(&home).unwrap(), Some(kept));
        let text = home::read_small(&home.file(FILE)).unwrap().unwrap();
        let before = text.replace(",\n  \"mcp_peers\": \"127.0.0.1:6\"", "");
        assert_ne!(before, text);
        home::replace(&home.file(FILE), 0o644, &before).unwrap();
        assert_eq!(Ports::of(&home).unwrap(), Some(ports([1, 2, 3, 4, 5, 0])), "a folder of before");
    }

    #[test]
    fn picked_ports_are_free_and_differ() {
        let picked = ports([0, 0, 0, 0, 0, 0]).fill(take_free).unwrap();
        let distinct: std::collections::BTreeSet<_> = picked.each().into_iter().collect();
        assert_eq!(distinct.len(), 6);
        assert!(picked.each().iter().all(|address| PICKED.contains(&address.port())));
        let busy = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(is_taken(busy.local_addr().unwrap()));
    }
}
