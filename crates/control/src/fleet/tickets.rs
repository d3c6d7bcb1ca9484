//! Tickets: control's own evidence that a live caller stands behind a command. 60 s, for the few questions that one
//! command has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::{Clock, Principal, ServerId};
use uuid::Uuid;

const LIFETIME_MICROS: i64 = 60_000_000;
/// Questions that one command may have: header lines, others after a 401, and both once more where a server is called
/// under two revisions of the protocol.
const USES: u32 = 4;
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

/// A ticket that is out.
struct Out {
    ticket: Ticket,
    until: i64,
    left: u32,
}

/// The tickets that are out.
pub(crate) struct Tickets {
    clock: Arc<dyn Clock>,
    out: Mutex<HashMap<String, Out>>,
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
            out.retain(|_, out| out.until - LIFETIME_MICROS / 2 > now);
        }
        let id = Uuid::new_v4().simple().to_string();
        if out.len() < CAPACITY {
            out.insert(id.clone(), Out { ticket, until: now + LIFETIME_MICROS, left: USES });
        }
        id
    }

    /// How many are out.
    pub(crate) fn len(&self) -> usize {
        self.out.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Takes one use of a ticket; `None` if it was never issued, is used up, is older than 60 s, or does not fit: then
    /// it is good for nothing else either.
    pub(crate) fn redeem(&self, id: &str, fits: impl Fn(&Ticket) -> bool) -> Option<Ticket> {
        let mut all = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let out = all.get_mut(id)?;
        let good = self.clock.now_micros() < out.until && fits(&out.ticket);
        let ticket = out.ticket.clone();
        out.left -= 1;
        if !good || out.left == 0 {
            all.remove(id);
        }
        good.then_some(ticket)
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
    fn a_ticket_works_for_the_questions_of_one_command_and_for_sixty_seconds() {
        let clock = Arc::new(ManualClock::at(0));
        let tickets = Tickets::new(clock.clone());
        let id = tickets.issue(ticket(1));
        for _ in 0..USES {
            assert_eq!(tickets.redeem(&id, |_| true), Some(ticket(1)));
        }
        assert_eq!(tickets.redeem(&id, |_| true), None);
        let late = tickets.issue(ticket(2));
        clock.advance_micros(LIFETIME_MICROS);
        assert_eq!(tickets.redeem(&late, |_| true), None);
        assert_eq!(tickets.len(), 0);
    }

    #[test]
    fn a_ticket_that_is_shown_for_something_else_is_worth_nothing_from_then_on() {
        let tickets = Tickets::new(Arc::new(ManualClock::at(0)));
        let id = tickets.issue(ticket(1));
        assert_eq!(tickets.redeem(&id, |ticket| ticket.command == 2), None);
        assert_eq!(tickets.redeem(&id, |_| true), None);
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
        assert_eq!(tickets.redeem(&first, |_| true), None);
    }
}
