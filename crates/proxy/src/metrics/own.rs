//! Who has labels of its own: so many at the most, and of all others the fullest of each bound.

use std::collections::BTreeMap;

/// How much of a bound is in use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fill {
    pub(super) bound: &'static str,
    pub(super) used: f64,
    /// More than 0.
    pub(super) limit: f64,
}

/// Gives `put` what is in use: name, labels, use and limit. `most` have their own labels, the rest share `other`.
pub(super) fn show(
    most: usize,
    other: [&str; 2],
    all: impl Iterator<Item = ([String; 2], Vec<Fill>)>,
    mut put: impl FnMut(&'static str, [&str; 2], f64, f64),
) {
    let (mut left, mut rest) = (most, BTreeMap::<&'static str, Fill>::new());
    for ([first, second], mut fills) in all {
        fills.retain(|fill| fill.used > 0.0);
        if fills.is_empty() {
            continue;
        }
        if left > 0 {
            left -= 1;
            fills.iter().for_each(|fill| put(fill.bound, [&first, &second], fill.used, fill.limit));
            continue;
        }
        for fill in fills {
            let fullest = rest.entry(fill.bound).or_insert(fill);
            if fullest.used * fill.limit < fill.used * fullest.limit {
                *fullest = fill;
            }
        }
    }
    rest.into_values().for_each(|fill| put(fill.bound, other, fill.used, fill.limit));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(most: usize, all: &[(&str, f64, f64)]) -> Vec<(String, f64, f64)> {
        let mut shown = Vec::new();
        let all = all.iter().map(|(server, used, limit)| {
            (["acme".to_owned(), (*server).to_owned()], vec![Fill { bound: "queue", used: *used, limit: *limit }])
        });
        show(most, ["_other", "_other"], all, |bound, [tenant, server], used, limit| {
            shown.push((format!("{bound} {tenant} {server}"), used, limit));
        });
        shown
    }

    #[test]
    fn beyond_the_bound_the_fullest_stands_for_all() {
        let all = [("a", 1.0, 2.0), ("unused", 0.0, 2.0), ("b", 1.0, 4.0), ("c", 5.0, 100.0), ("d", 3.0, 4.0)];
        let a = ("queue acme a".to_owned(), 1.0, 2.0);
        assert_eq!(shown(1, &all), [a.clone(), ("queue _other _other".to_owned(), 3.0, 4.0)]);
        assert_eq!(shown(4, &all).len(), 4, "nobody is left over");
        assert_eq!(shown(9, &all[..2]), [a], "what is not in use is not shown");
    }
}
