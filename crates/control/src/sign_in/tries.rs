//! How often somebody may try: by account, so that nobody guesses a password, and by address, so that nobody goes
//! through many accounts. Counted by each control for itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::UserId;

/// Tries of one account within a minute.
const BY_ACCOUNT: u32 = 10;
/// Tries from one address within a minute.
const BY_ADDRESS: u32 = 30;
/// Round trips to issuers that begin from one address within a minute: each is a row for ten minutes, and behind a
/// reverse proxy one address is everybody's.
const TRIPS_BY_ADDRESS: u32 = 600;
/// Audit rows of failed tries to be one user, within a minute.
const ROWS_BY_USER: u32 = 1;
/// The time over which is counted, microseconds.
const WINDOW: i64 = 60 * 1_000_000;
/// Accounts and addresses that are counted at once. When all are in use, new ones wait.
const MOST: usize = 65_536;

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Of {
    /// An account, whether or not there is one.
    Account {
        /// The tenant's name as it was given.
        tenant: String,
        /// The login as it was given.
        login: String,
    },
    /// An address; of IPv6 the network that one customer has.
    Address(IpAddr),
    /// Round trips of an address.
    Trips(IpAddr),
    /// What is written down of failed tries to be a user.
    Rows(UserId),
}

impl Of {
    /// An account, by names as long as any can be.
    pub(crate) fn account(tenant: &str, login: &str) -> Self {
        let cut = |text: &str| text.chars().take(128).collect::<String>().to_lowercase();
        Self::Account { tenant: cut(tenant), login: cut(login) }
    }

    /// An address.
    pub(crate) fn address(ip: IpAddr) -> Self {
        Self::Address(place(ip))
    }

    /// The round trips of an address.
    pub(crate) fn trips(ip: IpAddr) -> Self {
        Self::Trips(place(ip))
    }

    fn limit(&self) -> u32 {
        match self {
            Self::Account { .. } => BY_ACCOUNT,
            Self::Address(_) => BY_ADDRESS,
            Self::Trips(_) => TRIPS_BY_ADDRESS,
            Self::Rows(_) => ROWS_BY_USER,
        }
    }
}

/// What one customer has of addresses.
fn place(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Window {
    until: i64,
    tries: u32,
}

/// The tries of the last minute.
#[derive(Debug, Default)]
pub(crate) struct Tries(Mutex<HashMap<Of, Window>>);

impl Tries {
    /// How many accounts and addresses are counted at most.
    pub(crate) const MOST: u64 = MOST as u64;

    /// How many are counted.
    pub(crate) fn counted(&self) -> u64 {
        self.windows().len() as u64
    }

    /// Counts a try at `now`, microseconds since 1970; if it is one too many, after how many seconds there may be
    /// another.
    pub(crate) fn take(&self, of: Of, now: i64) -> Result<(), u64> {
        let mut windows = self.windows();
        if windows.len() >= MOST && !windows.contains_key(&of) {
            windows.retain(|_, window| window.until > now);
            if windows.len() >= MOST {
                return Err(secs(WINDOW));
            }
        }
        let limit = of.limit();
        let window = windows.entry(of).or_insert(Window { until: 0, tries: 0 });
        if window.until <= now {
            *window = Window { until: now.saturating_add(WINDOW), tries: 0 };
        }
        if window.tries >= limit {
            return Err(secs(window.until - now));
        }
        window.tries += 1;
        Ok(())
    }

    /// A try that was right counts for nothing.
    pub(crate) fn give_back(&self, of: &Of) {
        if let Some(window) = self.windows().get_mut(of) {
            window.tries = window.tries.saturating_sub(1);
        }
    }

    fn windows(&self) -> MutexGuard<'_, HashMap<Of, Window>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn secs(micros: i64) -> u64 {
    u64::try_from(micros).unwrap_or(0).div_ceil(1_000_000).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_ten_tries_a_minute_and_an_address_thirty() {
        let tries = Tries::default();
        for (of, limit) in [
            (Of::account("acme", "ann"), 10),
            (Of::address([127, 0, 0, 1].into()), 30),
            (Of::trips([127, 0, 0, 1].into()), 600),
            (Of::Rows(UserId::fresh()), 1),
        ] {
            (0..limit).for_each(|_| tries.take(of.clone(), 5).unwrap());
            assert_eq!(tries.take(of.clone(), 5), Err(60));
            assert_eq!(tries.take(of.clone(), 5 + WINDOW - 1), Err(1));
            assert_eq!(tries.take(of.clone(), 5 + WINDOW), Ok(()));
        }
        assert_eq!(tries.take(Of::account("acme", "bob"), 5), Ok(()));
    }

    #[test]
    fn a_right_try_is_given_back() {
        let tries = Tries::default();
        let of = Of::account("acme", "ann");
        for _ in 0..100 {
            tries.take(of.clone(), 0).unwrap();
            tries.give_back(&of);
        }
    }

    #[test]
    fn spellings_of_one_account_and_addresses_of_one_customer_count_together() {
        assert_eq!(Of::account("Acme", "ANN"), Of::account("acme", "ann"));
        let v6 = |text: &str| Of::address(text.parse().unwrap());
        assert_eq!(v6("2001:db8:1:2::1"), v6("2001:db8:1:2:ffff::9"));
        assert_ne!(v6("2001:db8:1:2::1"), v6("2001:db8:1:3::1"));
        assert_eq!(v6("::ffff:192.0.2.1"), v6("192.0.2.1"));
    }

    #[test]
    fn what_is_counted_has_a_bound_and_nobody_gets_round_it() {
        let tries = Tries::default();
        let nth = |at: usize| Of::account("acme", &at.to_string());
        (0..MOST).for_each(|at| tries.take(nth(at), 0).unwrap());
        assert_eq!(tries.take(nth(MOST), 1), Err(60));
        assert_eq!(tries.take(nth(0), 1), Ok(()), "who is counted is counted on");
        assert_eq!(tries.take(nth(MOST), WINDOW), Ok(()));
        assert_eq!(tries.counted(), 1);
    }
}
