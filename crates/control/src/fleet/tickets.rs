//! Tickets: control's own evidence that a live caller stands behind a command. Single use, 60 s.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::{Clock, Principal, ServerId};
use uuid::Uuid;

const LIFETIME_MICROS: i64 = 60_000_000;
/// Beyond this the oldest half goes: a ticket that was never redeemed is worth nothing.
pub(super) const CAPACITY: usize = 8_192;

/// For whom a ticket speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// Who asked control.
    pub(crate) principal: Principal,
    /// Which server the command is about.
    pub(crate) server: ServerId,
    /// The command.
    pub(crate) command: u64,
}

/// The tickets that are out.
pub(crate) struct Tickets {
    clock: Arc<dyn Clock>,
    out: Mutex<HashMap<String, (Ticket, i64)>>,
}

impl Tickets {
    /// No ticket is out.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, out: Mutex::default() }
    }

    /// Makes a ticket: 122 random bits.
    pub(crate) fn issue(&self, ticket: Ticket) -> String {
        let now = self.clock.now_micros();
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        if out.len() >= CAPACITY {
            out.retain(|_, (_, until)| *until - LIFETIME_MICROS / 2 > now);
        }
        let id = Uuid::new_v4().simple().to_string();
        if out.len() < CAPACITY {
            out.insert(id.clone(), (ticket, now + LIFETIME_MICROS));
        }
        id
    }

    /// How many are out.
    pub(crate) fn len(&self) -> usize {
        self.out.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Takes a ticket in; `None` if it was never issued, was used, or is older than 60 s.
    pub(crate) fn redeem(&self, id: &str) -> Option<Ticket> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let (ticket, until) = out.remove(id)?;
        (self.clock.now_micros() < until).then_some(ticket)
    }
}

#[cfg(test)]
mod tests {
    use model::{ManualClock, TenantId};

    use super::*;

    fn ticket(command: u64) -> Ticket {
        let principal = Principal { tenant: TenantId(Uuid::nil()), user: None, key: "0123456789abcdef".parse().ok() };
        Ticket { principal, server: ServerId(Uuid::nil()), command }
    }

    #[test]
    fn a_ticket_works_once_and_for_sixty_seconds() {
        let clock = Arc::new(ManualClock::at(0));
        let tickets = Tickets::new(clock.clone());
        let id = tickets.issue(ticket(1));
        assert_eq!(tickets.redeem(&id), Some(ticket(1)));
        assert_eq!(tickets.redeem(&id), None);
        let late = tickets.issue(ticket(2));
        clock.advance_micros(LIFETIME_MICROS);
        assert_eq!(tickets.redeem(&late), None);
    }

    #[test]
    fn the_number_of_tickets_is_bounded() {
        let clock = Arc::new(ManualClock::at(0));
        let tickets = Tickets::new(clock.clone());
        let first = tickets.issue(ticket(0));
        for command in 1..(2 * CAPACITY as u64) {
            clock.advance_micros(10_000);
            tickets.issue(ticket(command));
        }
        assert!(tickets.out.lock().unwrap().len() <= CAPACITY);
        assert_eq!(tickets.redeem(&first), None);
    }
}
