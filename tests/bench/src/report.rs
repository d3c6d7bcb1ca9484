//! What was measured, what it means, and how it is printed.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::load::Figures;

/// One way to the answer, measured in every round.
pub(crate) struct Series {
    /// The target's name.
    pub(crate) lane: &'static str,
    /// One entry for each round.
    pub(crate) rounds: Vec<Figures>,
}

/// One kind of work over all its lanes.
pub(crate) struct Work {
    /// Its name, as `--only` takes it.
    pub(crate) name: String,
    /// Its lanes, the baseline included.
    pub(crate) series: Vec<Series>,
}

/// A figure that has a milestone.
pub(crate) struct Claim {
    /// What is claimed.
    pub(crate) what: String,
    /// `x bare`, `KiB` and so on.
    pub(crate) unit: &'static str,
    /// The figure of each round.
    pub(crate) rounds: Vec<f64>,
    /// The first milestone; `None` where the figure is only shown.
    pub(crate) milestone: Option<f64>,
    /// The goal behind it.
    pub(crate) goal: Option<f64>,
}

/// Everything of one run.
#[derive(Default)]
pub(crate) struct Report {
    /// In the order in which they were measured.
    pub(crate) works: Vec<Work>,
    /// In the same order.
    pub(crate) claims: Vec<Claim>,
    /// What else a reader must know.
    pub(crate) notes: Vec<String>,
}

/// Median, least and most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// The middle value; the mean of the two in the middle of an even number.
    pub(crate) median: f64,
    /// The least value.
    pub(crate) least: f64,
    /// The most.
    pub(crate) most: f64,
}

impl Spread {
    /// The spread of some values; zeros of none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        let last = sorted.len().saturating_sub(1);
        Self { median: (at(last / 2) + at(last.div_ceil(2))) / 2.0, least: at(0), most: at(last) }
    }
}

/// Whether the milestone is met: by every round, by none, or somewhere inside the spread, where
/// only the median speaks.
pub(crate) fn verdict(spread: Spread, milestone: f64) -> &'static str {
    if spread.most <= milestone {
        "met"
    } else if spread.least > milestone {
        "missed"
    } else if spread.median <= milestone {
        "met by the median, not resolved"
    } else {
        "missed by the median, not resolved"
    }
}

impl Work {
    /// The rounds of one lane.
    pub(crate) fn lane(&self, lane: &str) -> &[Figures] {
        self.series.iter().find(|series| series.lane == lane).map_or(&[], |series| &series.rounds)
    }

    /// A figure of one lane over the same figure of another, round by round.
    pub(crate) fn ratio(&self, lane: &str, base: &str, figure: fn(&Figures) -> f64) -> Vec<f64> {
        let pairs = self.lane(lane).iter().zip(self.lane(base));
        pairs.map(|(lane, base)| figure(lane) / figure(base)).collect()
    }

    /// A figure of one lane less the same figure of another, round by round.
    pub(crate) fn added(&self, lane: &str, base: &str, figure: fn(&Figures) -> f64) -> Vec<f64> {
        let pairs = self.lane(lane).iter().zip(self.lane(base));
        pairs.map(|(lane, base)| figure(lane) - figure(base)).collect()
    }

    fn print(&self, out: &mut String) {
        let _ = writeln!(out, "\n{}", self.name);
        let _ = writeln!(
            out,
            "  {:<16} {:>22} {:>22} {:>22} {:>22} {:>9} {:>18}",
            "", "requests/s", "p50 us", "p99 us", "CPU us/request", "peak MiB", "CPU x bare"
        );
        for series in &self.series {
            let cell = |figure: fn(&Figures) -> f64| cell(Spread::of(series.rounds.iter().map(figure)));
            let peak = Spread::of(series.rounds.iter().map(|figures| figures.peak_mib)).median;
            let ratio = self.ratio(series.lane, "bare", |figures| figures.cpu_us);
            let ratio = if series.lane == "direct" || !ratio.iter().all(|ratio| ratio.is_finite()) || ratio.is_empty() {
                "-".to_owned()
            } else {
                cell_of(&ratio)
            };
            let _ = writeln!(
                out,
                "  {:<16} {:>22} {:>22} {:>22} {:>22} {:>9.1} {:>18}",
                series.lane,
                cell(|figures| figures.rate),
                cell(|figures| figures.p50_us),
                cell(|figures| figures.p99_us),
                cell(|figures| figures.cpu_us),
                peak,
                ratio,
            );
        }
        for series in &self.series {
            let rounds = series.rounds.iter().map(|figures| {
                format!(
                    "{:.0}/s {:.0}/{:.0} us {:.1} cpu {:.1} MiB",
                    figures.rate, figures.p50_us, figures.p99_us, figures.cpu_us, figures.peak_mib
                )
            });
            let _ = writeln!(out, "    {}: {}", series.lane, rounds.collect::<Vec<_>>().join(" | "));
        }
    }
}

fn cell(spread: Spread) -> String {
    let Spread { median, least, most } = spread;
    let digits = if most < 10.0 { 2 } else { usize::from(most < 1000.0) };
    format!("{median:.digits$} [{least:.digits$}-{most:.digits$}]")
}

fn cell_of(values: &[f64]) -> String {
    cell(Spread::of(values.iter().copied()))
}

impl Report {
    /// The whole report for people.
    pub(crate) fn text(&self) -> String {
        let mut out = String::from("Medians, [least-most] over the rounds; then every round.\n");
        for work in &self.works {
            work.print(&mut out);
        }
        if !self.claims.is_empty() {
            let _ = writeln!(
                out,
                "\n{:<62} {:>24} {:>10} {:>8}  verdict",
                "Milestones", "median [least-most]", "milestone", "goal"
            );
        }
        for claim in &self.claims {
            let spread = Spread::of(claim.rounds.iter().copied());
            let number = |figure: Option<f64>| figure.map_or("-".to_owned(), |figure| figure.to_string());
            let _ = writeln!(
                out,
                "{:<62} {:>24} {:>10} {:>8}  {}",
                format!("{} ({})", claim.what, claim.unit),
                cell(spread),
                number(claim.milestone),
                number(claim.goal),
                claim.milestone.map_or("shown only", |milestone| verdict(spread, milestone)),
            );
            let rounds: Vec<String> = claim.rounds.iter().map(|figure| format!("{figure:.2}")).collect();
            let _ = writeln!(out, "    {}", rounds.join(" "));
        }
        for note in &self.notes {
            let _ = writeln!(out, "note: {note}");
        }
        out
    }

    /// The whole report for programs.
    pub(crate) fn json(&self) -> Value {
        let work = |work: &Work| {
            let lanes: Vec<Value> =
                work.series.iter().map(|series| json!({ "lane": series.lane, "rounds": series.rounds })).collect();
            json!({ "work": work.name, "lanes": lanes })
        };
        let claim = |claim: &Claim| {
            let spread = Spread::of(claim.rounds.iter().copied());
            json!({
                "what": claim.what, "unit": claim.unit, "rounds": claim.rounds,
                "median": spread.median, "least": spread.least, "most": spread.most,
                "milestone": claim.milestone, "goal": claim.goal,
                "verdict": claim.milestone.map(|milestone| verdict(spread, milestone)),
            })
        };
        json!({
            "works": self.works.iter().map(work).collect::<Vec<_>>(),
            "claims": self.claims.iter().map(claim).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }

    /// Adds a claim.
    pub(crate) fn claim(
        &mut self,
        what: impl Into<String>,
        unit: &'static str,
        rounds: Vec<f64>,
        milestone: impl Into<Option<f64>>,
        goal: impl Into<Option<f64>>,
    ) {
        let (milestone, goal) = (milestone.into(), goal.into());
        self.claims.push(Claim { what: what.into(), unit, rounds, milestone, goal });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(Spread::of([4.0, 1.0, 3.0, 2.0]), Spread { median: 2.5, least: 1.0, most: 4.0 });
        assert_eq!(Spread::of([3.0, 1.0, 2.0]).median, 2.0);
        assert_eq!(Spread::of([]).median, 0.0);
    }

    #[test]
    fn a_milestone_inside_the_spread_is_not_resolved() {
        for (values, said) in [
            ([1.0, 1.5, 2.0], "met"),
            ([2.1, 2.5, 3.0], "missed"),
            ([1.0, 1.5, 3.0], "met by the median, not resolved"),
            ([1.0, 2.5, 3.0], "missed by the median, not resolved"),
        ] {
            assert_eq!(verdict(Spread::of(values), 2.0), said);
        }
    }
}
