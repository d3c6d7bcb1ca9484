//! Which traces are recorded: `OTEL_TRACES_SAMPLER` and its argument.

use super::context::Context;

/// A ratio is compared with so many low bits of the trace's id, as W3C level 2 has it: every process that
/// samples at one ratio picks the same traces.
const BITS: u32 = 56;

/// Decides at the beginning of a span; cheap, and the same for the same trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampler {
    /// What the caller decided is kept.
    parent_based: bool,
    /// The share of traces without a parent that is recorded, 0.0 to 1.0.
    ratio: f64,
}

impl Default for Sampler {
    /// `parentbased_always_on`, as OpenTelemetry has it.
    fn default() -> Self {
        Self { parent_based: true, ratio: 1.0 }
    }
}

impl Sampler {
    /// Reads the two variables; what is wrong is said in words, and then the default stands.
    pub(crate) fn read(name: Option<&str>, argument: Option<&str>) -> Result<Self, String> {
        let Some(name) = name else { return Ok(Self::default()) };
        let (parent_based, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name),
        };
        let ratio = match root {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => match argument.map(str::parse::<f64>) {
                None => 1.0,
                Some(Ok(ratio)) if (0.0..=1.0).contains(&ratio) => ratio,
                Some(_) => return Err("OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1".to_owned()),
            },
            _ => {
                return Err("OTEL_TRACES_SAMPLER must be always_on, always_off, traceidratio, or one of these after \
                            parentbased_"
                    .to_owned());
            }
        };
        Ok(Self { parent_based, ratio })
    }

    /// Whether this trace is recorded.
    pub(crate) fn samples(&self, parent: Option<Context>, trace: u128) -> bool {
        match parent {
            Some(parent) if self.parent_based => parent.is_sampled(),
            _ => {
                let part = trace & ((1 << BITS) - 1);
                part >= ((1.0 - self.ratio) * (1u64 << BITS) as f64) as u128
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_names_are_read_and_others_refused() {
        for (name, argument, read) in [
            (None, None, Some((true, 1.0))),
            (Some("always_on"), None, Some((false, 1.0))),
            (Some("always_off"), None, Some((false, 0.0))),
            (Some("traceidratio"), Some("0.25"), Some((false, 0.25))),
            (Some("parentbased_always_off"), None, Some((true, 0.0))),
            (Some("parentbased_traceidratio"), Some("0.5"), Some((true, 0.5))),
            (Some("traceidratio"), Some("2"), None),
            (Some("traceidratio"), Some("NaN"), None),
            (Some("jaeger_remote"), None, None),
            (Some("sometimes"), None, None),
        ] {
            let sampler = Sampler::read(name, argument).ok();
            assert_eq!(sampler.map(|sampler| (sampler.parent_based, sampler.ratio)), read, "{name:?}");
        }
    }

    #[test]
    fn a_ratio_samples_about_its_share_and_a_parent_decides() {
        let quarter = Sampler { parent_based: true, ratio: 0.25 };
        let sampled = (0..10_000).filter(|_| quarter.samples(None, super::super::context::fresh_trace())).count();
        assert!((2_000..3_000).contains(&sampled), "{sampled}");
        let parent = Context::root(7, true);
        assert!(quarter.samples(Some(parent), u128::MAX));
        assert!(!Sampler::default().samples(Some(parent.with_sampled(false)), 0));
        assert!(Sampler { parent_based: false, ratio: 1.0 }.samples(Some(parent.with_sampled(false)), 0));
        assert!(!Sampler { parent_based: false, ratio: 0.0 }.samples(Some(parent), u128::MAX));
    }
}
