//! `gatehouse certs`: the plane's certificates in the data folder and when they end.

mod validity;

use std::path::Path;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use self::validity::Validity;
use crate::args;
use crate::failure::Failure;
use crate::home::{self, Home};
use crate::screen::{Screen, cell, table};

/// The certificates of a data folder, by their names there.
const FILES: [&str; 3] = ["ca.pem", "control.pem", "proxy.pem"];

/// Shows each certificate. One that has ended makes the command fail.
pub(super) fn run(access: &args::Access, screen: Screen) -> Result<(), Failure> {
    let home = Home::find(access.data_dir.as_deref())?;
    let folder = home.file("pki");
    if !folder.is_dir() {
        return Err(Failure::NotFound(format!(
            "{} has no certificates: `gatehouse up` makes them",
            home.path().display()
        )));
    }
    let now = OffsetDateTime::now_utc();
    let items: Vec<Value> = FILES.iter().map(|name| read(&folder.join(name), name, now)).collect::<Result<_, _>>()?;
    let ended =
        items.iter().filter(|item| item.get("days_left").and_then(Value::as_i64).is_none_or(|days| days < 0)).count();
    screen.show(&json!({ "folder": folder.display().to_string(), "items": items }), told)?;
    if ended > 0 { Err(Failure::Failed("a certificate has ended or can't be read".to_owned())) } else { Ok(()) }
}

fn read(path: &Path, name: &str, now: OffsetDateTime) -> Result<Value, Failure> {
    let Some(pem) = home::read_small(path)? else { return Ok(json!({ "file": name, "state": "missing" })) };
    Ok(match Validity::of_pem(&pem) {
        Some(validity) => described(name, validity, now),
        None => json!({ "file": name, "state": "not a certificate" }),
    })
}

fn described(name: &str, validity: Validity, now: OffsetDateTime) -> Value {
    let text = |instant: OffsetDateTime| instant.format(&Rfc3339).unwrap_or_default();
    let left = validity.not_after - now;
    json!({
        "file": name,
        "not_before": text(validity.not_before),
        "not_after": text(validity.not_after),
        // Rounded down, so that the last hours count as 0 and what has ended as -1.
        "days_left": left.whole_seconds().div_euclid(86_400),
        "state": if left.is_positive() { "valid" } else { "ended" },
    })
}

fn told(document: &Value) -> String {
    let row =
        |item: &Value| [cell(item, "file"), cell(item, "state"), cell(item, "not_after"), cell(item, "days_left")];
    let rows: Vec<_> = document.get("items").and_then(Value::as_array).into_iter().flatten().map(row).collect();
    table(["FILE", "STATE", "ENDS", "DAYS LEFT"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_counted_in_whole_days() {
        let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        for (ends, days, state) in [(86_400, 1, "valid"), (86_399, 0, "valid"), (0, 0, "ended"), (-1, -1, "ended")] {
            let validity = Validity { not_before: at(-9), not_after: at(ends) };
            let item = described("ca.pem", validity, at(0));
            assert_eq!((item["days_left"].as_i64(), item["state"].as_str()), (Some(days), Some(state)), "{ends}");
        }
    }

    #[test]
    fn a_missing_certificate_is_a_line_of_the_report() {
        let folder = tempfile::tempdir().unwrap();
        let item = read(&folder.path().join("ca.pem"), "ca.pem", OffsetDateTime::UNIX_EPOCH).unwrap();
        assert_eq!(item["state"], "missing");
    }
}
