//! Which eras an upstream speaks, as far as that is known.

use std::sync::atomic::{AtomicU8, Ordering};

use mcp::Era;

/// For each era: unknown, spoken, or not spoken. Two bits each.
#[derive(Debug, Default)]
pub(crate) struct Eras(AtomicU8);

const SPOKEN: u8 = 1;
const NOT_SPOKEN: u8 = 2;

impl Eras {
    /// Whether the upstream speaks this era; `None` as long as nobody has found out.
    pub(crate) fn speaks(&self, era: Era) -> Option<bool> {
        match self.0.load(Ordering::Relaxed) >> shift(era) & 3 {
            0 => None,
            bits => Some(bits == SPOKEN),
        }
    }

    /// Remembers what was found out, in place of what was thought before.
    pub(crate) fn found(&self, era: Era, spoken: bool) {
        let bits = if spoken { SPOKEN } else { NOT_SPOKEN };
        let put = |all: u8| Some(all & !(3 << shift(era)) | bits << shift(era));
        // Never refused: the closure always has a value.
        _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, put);
    }

    /// The era to speak with it for a client of `era`: the same, unless it is known not to be spoken while the other
    /// may be.
    pub(crate) fn for_client(&self, era: Era) -> Era {
        let other = match era {
            Era::Session => Era::Stateless,
            Era::Stateless => Era::Session,
        };
        if self.speaks(era) == Some(false) && self.speaks(other) != Some(false) { other } else { era }
    }
}

fn shift(era: Era) -> u8 {
    match era {
        Era::Session => 0,
        Era::Stateless => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_own_era_is_spoken_where_it_can_be() {
        let (yes, no) = (Some(true), Some(false));
        for (session, stateless, for_session, for_stateless) in [
            (None, None, Era::Session, Era::Stateless),
            (yes, yes, Era::Session, Era::Stateless),
            (yes, no, Era::Session, Era::Session),
            (no, yes, Era::Stateless, Era::Stateless),
            (None, no, Era::Session, Era::Session),
            (no, None, Era::Stateless, Era::Stateless),
            (no, no, Era::Session, Era::Stateless),
        ] {
            let eras = Eras::default();
            for (era, spoken) in [(Era::Session, session), (Era::Stateless, stateless)] {
                if let Some(spoken) = spoken {
                    eras.found(era, !spoken);
                    eras.found(era, spoken);
                }
                assert_eq!(eras.speaks(era), spoken);
            }
            assert_eq!(
                (eras.for_client(Era::Session), eras.for_client(Era::Stateless)),
                (for_session, for_stateless),
                "{session:?} {stateless:?}"
            );
        }
    }
}
