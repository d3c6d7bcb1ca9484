//! How long a row may be unwritten before its replica counts as dead: nobody could write while the database was
//! away, so that time does not count against anyone.

/// The last time the rows could be read, and the last gap in that. Instants are microseconds since 1970.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Sight {
    read: Option<i64>,
    gap: Option<Gap>,
}

#[derive(Debug, Clone, Copy)]
struct Gap {
    from: i64,
    until: i64,
}

impl Sight {
    /// The rows are read `now`. If the last time is longer ago than `usual`, they could not be read in between.
    pub(super) fn reads(&mut self, now: i64, usual: i64) {
        if let Some(from) = self.read.filter(|read| now - read > usual) {
            self.gap = Some(Gap { from, until: now });
        }
        self.read = Some(now);
    }

    /// The instant since which a row must have been written if it may be `age` old. For that long after a gap,
    /// it is what it was when the gap began: whoever lives writes before that is over.
    pub(super) fn since(&self, now: i64, age: i64) -> i64 {
        match self.gap {
            Some(gap) if now - gap.until < age => gap.from - age,
            _ => now - age,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Sight;

    #[test]
    fn the_time_in_which_nobody_could_write_counts_against_nobody() {
        let mut sight = Sight::default();
        assert_eq!(sight.since(100, 30), 70, "nothing was read yet");
        for now in [100, 102, 104] {
            sight.reads(now, 6);
            assert_eq!(sight.since(now, 30), now - 30, "no gap");
        }
        sight.reads(164, 6);
        for (now, since) in [(164, 74), (180, 74), (193, 74), (194, 164), (200, 170)] {
            assert_eq!(sight.since(now, 30), since, "{now}");
        }
    }
}
