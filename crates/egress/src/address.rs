//! Which URLs and which addresses may be reached: pure, without DNS.
//!
//! [`Policy::check_url`] judges what can be seen in the URL; [`Policy::check_address`] judges each
//! address that a resolver gave, by itself and completely, so that forgetting the first opens nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use model::{EgressRule, HostPattern, TenantId};
use url::{Host, Url};

use crate::class::Class;
use crate::rule::{is_default_port, opens};

/// What may be reached. The default is public addresses over https.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Dev mode: loopback addresses and the name `localhost`, with http, on every port but `own`.
    pub dev: bool,
    /// Gatehouse's own listeners: always refused.
    pub own: Vec<SocketAddr>,
    /// Exceptions of platform admins.
    pub rules: Vec<EgressRule>,
    /// Raised with every change: pooled connections of an older revision are not used again.
    pub revision: u64,
}

/// Why a URL or an address may not be reached. Never shows an address: a tenant must not learn how a
/// name resolves in here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// Plain http where no rule allows it.
    #[error("the URL must use https")]
    HttpsRequired,
    /// Neither http nor https.
    #[error("the scheme must be http or https")]
    Scheme,
    /// A user name or a password in the URL.
    #[error("the URL must not hold a user name or password")]
    UserInfo,
    /// A name that means an internal host, or no usable host at all.
    #[error("the host name is not allowed by the address policy")]
    HostName,
    /// A port that the policy doesn't allow.
    #[error("the port is not allowed by the address policy")]
    Port,
    /// An address that is not public.
    #[error("the address is not allowed by the address policy")]
    Address,
    /// Gatehouse itself.
    #[error("the address belongs to this gateway")]
    OwnListener,
    /// A cloud's metadata service.
    #[error("cloud metadata services are never reached")]
    Metadata,
}

impl Refusal {
    /// The stable code of REST answers and MCP errors.
    pub fn code(&self) -> &'static str {
        match self {
            Self::HttpsRequired => "https_required",
            Self::Scheme => "url_scheme",
            Self::UserInfo => "url_userinfo",
            Self::HostName | Self::Port | Self::Address | Self::OwnListener | Self::Metadata => "address_blocked",
        }
    }
}

impl Policy {
    /// Judges what can be seen in the URL: scheme, user info, spelling of the host, port, literal address.
    pub fn check_url(&self, tenant: TenantId, url: &Url) -> Result<(), Refusal> {
        let https = is_https(url)?;
        let port = url.port_or_known_default().ok_or(Refusal::Port)?;
        let literal = |ip: IpAddr| self.check_address(tenant, "", SocketAddr::new(ip, port), https);
        match url.host() {
            Some(Host::Ipv4(ip)) => literal(ip.into()),
            Some(Host::Ipv6(ip)) => literal(ip.into()),
            Some(Host::Domain(name)) => self.check_name(tenant, &plain_name(name), port, https),
            None => Err(Refusal::HostName),
        }
    }

    /// Judges one address that is about to be dialled for `host`. `host` is the host of the URL; for a
    /// literal address it may be empty.
    pub fn check_address(&self, tenant: TenantId, host: &str, addr: SocketAddr, https: bool) -> Result<(), Refusal> {
        let host = if is_literal(host) { String::new() } else { plain_name(host) };
        let named = !host.is_empty();
        let by_name = |rule: &&EgressRule| named && rule.names(&host);
        if named {
            refused_always(&host, self.dev)?;
            if is_internal_name(&host) && !is_localhost(&host) && !self.rules_for(tenant).any(|r| by_name(&r)) {
                return Err(Refusal::HostName);
            }
        }
        if self.is_own(addr) {
            return Err(Refusal::OwnListener);
        }
        let class = Class::of(addr.ip());
        match class {
            Class::Metadata => return Err(Refusal::Metadata),
            Class::Never => return Err(Refusal::Address),
            // Only the name `localhost` may lead to loopback: another one that does is rebinding.
            Class::Loopback if self.dev && (!named || is_localhost(&host)) => return Ok(()),
            Class::Loopback => return Err(Refusal::Address),
            Class::Public | Class::Special if is_localhost(&host) => return Err(Refusal::Address),
            Class::Public | Class::Special => {}
        }
        let about = |rule: &&EgressRule| by_name(rule) || rule.contains(addr.ip());
        if self.rules_for(tenant).any(|rule| about(&rule) && opens(rule, addr.port(), https)) {
            return Ok(());
        }
        match class {
            Class::Public if !https => Err(Refusal::HttpsRequired),
            Class::Public if is_default_port(addr.port()) => Ok(()),
            Class::Public => Err(Refusal::Port),
            // A rule opens the place, so what is wrong is the scheme or the port.
            _ => match self.rules_for(tenant).find(about) {
                Some(rule) if !https && opens(rule, addr.port(), true) => Err(Refusal::HttpsRequired),
                Some(_) => Err(Refusal::Port),
                None => Err(Refusal::Address),
            },
        }
    }

    /// Judges a name before it is resolved. Passes what only the addresses can decide.
    fn check_name(&self, tenant: TenantId, name: &str, port: u16, https: bool) -> Result<(), Refusal> {
        refused_always(name, self.dev)?;
        if is_localhost(name) {
            let own = self.is_own(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
            return if own { Err(Refusal::OwnListener) } else { Ok(()) };
        }
        let by_name = self.rules_for(tenant).find(|rule| rule.names(name));
        if is_internal_name(name) && by_name.is_none() {
            return Err(Refusal::HostName);
        }
        let opened = self.rules_for(tenant).any(|rule| {
            let may_apply = rule.names(name) || matches!(rule.host, HostPattern::Net(_));
            may_apply && opens(rule, port, https)
        });
        match () {
            () if opened => Ok(()),
            () if !https => Err(Refusal::HttpsRequired),
            () if !is_default_port(port) => Err(Refusal::Port),
            () => Ok(()),
        }
    }

    fn rules_for(&self, tenant: TenantId) -> impl Iterator<Item = &EgressRule> {
        self.rules.iter().filter(move |rule| rule.is_for(tenant))
    }

    /// Whether the address leads to one of Gatehouse's own listeners. All of loopback is one place here,
    /// and a listener on every interface is behind every address that isn't public.
    pub(crate) fn is_own(&self, addr: SocketAddr) -> bool {
        let inside = Class::of(addr.ip()) != Class::Public;
        let loopback = addr.ip().is_loopback();
        self.own.iter().any(|own| {
            let same_place =
                own.ip() == addr.ip() || (own.ip().is_loopback() && loopback) || (own.ip().is_unspecified() && inside);
            own.port() == addr.port() && same_place
        })
    }
}

/// The scheme, of URLs that some policy could allow.
pub(crate) fn is_https(url: &Url) -> Result<bool, Refusal> {
    let https = match url.scheme() {
        "https" => true,
        "http" => false,
        _ => return Err(Refusal::Scheme),
    };
    let alone = url.username().is_empty() && url.password().is_none();
    if alone { Ok(https) } else { Err(Refusal::UserInfo) }
}

/// Names that no rule opens: metadata services, and `localhost` outside dev mode.
pub(crate) fn refused_always(name: &str, dev: bool) -> Result<(), Refusal> {
    if name.is_empty() || name.len() > 253 {
        return Err(Refusal::HostName);
    }
    if name.starts_with("metadata") || name == "instance-data" || name.starts_with("instance-data.") {
        return Err(Refusal::Metadata);
    }
    let local = name.rsplit('.').next() == Some("localhost") || name == "localhost.localdomain";
    if local && !(dev && is_localhost(name)) { Err(Refusal::HostName) } else { Ok(()) }
}

fn is_localhost(name: &str) -> bool {
    name == "localhost"
}

/// Whether the name is one of an inner network: a single label, or under a suffix that isn't public.
fn is_internal_name(name: &str) -> bool {
    const SUFFIXES: [&str; 8] = ["local", "internal", "localdomain", "intranet", "corp", "home", "lan", "arpa"];
    match name.rsplit_once('.') {
        None => true,
        Some((_, last)) => SUFFIXES.contains(&last),
    }
}

/// Lower case, without the trailing dot of an absolute name.
pub(crate) fn plain_name(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Whether the host of a URL is an address, with or without brackets; nothing counts as one too.
fn is_literal(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host.is_empty() || inner.parse::<Ipv6Addr>().is_ok() || host.parse::<Ipv4Addr>().is_ok()
}
