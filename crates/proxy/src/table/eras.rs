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

    /// What is known of both, for a record.
    pub(crate) fn known(&self) -> model::Eras {
        model::Eras { session: self.speaks(Era::Session), stateless: self.speaks(Era::Stateless) }
    }

    /// Remembers what was found out, in place of what was thought before.
    pub(crate) fn found(&self, era: Era, spoken: bool) {
        let bits = if spoken { SPOKEN } else { NOT_SPOKEN };
        let put = |all: u8| Some(all & !(3 << shift(era)) | bits << shift(era));
        // Never refused: the closure always has a value.
        _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, put);
    }

    /// It was spoken with in this era, and does not know it: so nothing is known of the other either, if that was not
    /// spoken before.
    pub(crate) fn proved_wrong(&self, era: Era) {
        self.found(era, false);
        if self.speaks(other(era)) == Some(false) {
            self.0.fetch_and(!(3 << shift(other(era))), Ordering::Relaxed);
        }
    }

    /// The era to speak with it for a client of `era`: the same, unless it is known not to be spoken while the other
    /// may be.
    pub(crate) fn for_client(&self, era: Era) -> Era {
        let other = other(era);
        if self.speaks(era) == Some(false) && self.speaks(other) != Some(false) { other } else { era }
    }
}

fn other(era: Era) -> Era {
    match era {
        Era::Session => Era::Stateless,
        Era::Stateless => Era::Session,
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
    fn an_upstream_that_changed_its_era_is_asked_anew() {
        let eras = Eras::default();
        eras.found(Era::Session, true);
        eras.found(Era::Stateless, false);
        eras.proved_wrong(Era::Session);
        assert_eq!((eras.speaks(Era::Session), eras.speaks(Era::Stateless)), (Some(false), None));
        assert_eq!(eras.for_client(Era::Session), Era::Stateless);
        eras.found(Era::Stateless, true);
        eras.proved_wrong(Era::Session);
        assert_eq!((eras.speaks(Era::Session), eras.speaks(Era::Stateless)), (Some(false), Some(true)));
    }

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
