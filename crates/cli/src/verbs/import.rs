//! `gatehouse import`: a file is read line by line and sent some rows at a time, those of servers first.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use model::Secret;
use serde_json::{Map, Value, json};

use super::secret;
use crate::api::Api;
use crate::args::Import;
use crate::failure::Failure;
use crate::progress;
use crate::screen::{Screen, cell, table};

/// Rows of one request, and bytes of them.
const ROWS: usize = 20;
const BYTES: usize = 128 * 1024;
/// Bytes of a file that is read: everything is kept until servers are told from connections.
const LARGEST: u64 = 64 * 1024 * 1024;

/// A line of the file.
struct Row {
    line: u64,
    columns: Value,
    bytes: usize,
}

/// Imports a file. A row that could not be imported makes the command fail, after all others.
pub(super) async fn run(api: &Api, import: &Import, screen: Screen) -> Result<(), Failure> {
    let key = import.old_key_file.as_deref().map(|path| secret::Source::File(path).read()).transpose()?;
    let rows = of_tenant(read(&import.file)?, import.old_tenant.as_deref())?;
    let of_servers = |row: &Row| row.columns.get(import.from.server_column()).is_some();
    let (servers, others): (Vec<_>, Vec<_>) = rows.into_iter().partition(of_servers);
    let total = servers.len() + others.len();
    let mut report = Report::default();
    for batch in batches(servers).into_iter().chain(batches(others)) {
        let what = format!("importing, {} of {total}", report.rows.len());
        progress::during(&what, send(api, import, key.as_ref(), batch, &mut report)).await?;
    }
    let document = report.document(import.dry_run);
    screen.show(&document, told)?;
    match report.failed {
        0 => Ok(()),
        failed => Err(Failure::Failed(format!("{failed} rows could not be imported"))),
    }
}

/// What came of all requests.
#[derive(Default)]
struct Report {
    rows: Vec<Value>,
    imported: u64,
    skipped: u64,
    failed: u64,
    /// Servers by what their rows call them, for the rows of connections.
    servers: Map<String, Value>,
}

impl Report {
    fn take(&mut self, answer: &Value) {
        let count = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or(0);
        self.imported += count("imported");
        self.skipped += count("skipped");
        self.failed += count("failed");
        for row in answer.get("rows").and_then(Value::as_array).into_iter().flatten() {
            // One that was not made too: another one of its name is not meant by the rows that name it.
            if cell(row, "kind") == "server" {
                self.servers.insert(cell(row, "name"), row.get("server").cloned().unwrap_or_default());
            }
            self.rows.push(row.clone());
        }
    }

    fn document(&self, dry_run: bool) -> Value {
        let mut rows = self.rows.clone();
        rows.sort_by_key(|row| row.get("line").and_then(Value::as_u64));
        json!({
            "dry_run": dry_run, "imported": self.imported, "skipped": self.skipped, "failed": self.failed, "rows": rows,
        })
    }
}

async fn send(
    api: &Api,
    import: &Import,
    key: Option<&Secret>,
    batch: Vec<Row>,
    report: &mut Report,
) -> Result<(), Failure> {
    let rows: Vec<Value> = batch.into_iter().map(|row| json!({"line": row.line, "row": row.columns})).collect();
    let mut body = json!({
        "from": import.from.word(), "dry_run": import.dry_run, "servers": report.servers, "rows": rows,
    });
    if let (Some(key), Some(members)) = (key, body.as_object_mut()) {
        members.insert("key".to_owned(), key.expose().into());
    }
    report.take(&api.post(&["import"], &body).await?.body);
    Ok(())
}

fn read(path: &Path) -> Result<Vec<Row>, Failure> {
    let file = File::open(path).map_err(|error| Failure::caused("can't read the rows", error))?;
    let mut rows = Vec::new();
    let mut left = LARGEST;
    for (at, line) in BufReader::new(file.take(LARGEST)).lines().enumerate() {
        let number = at as u64 + 1;
        let line = line.map_err(|error| Failure::caused("can't read the rows", error))?;
        left = left.saturating_sub(line.len() as u64 + 1);
        if line.trim().is_empty() {
            continue;
        }
        // The error of the parser would show what it met, which may be a secret.
        let columns: Option<Value> = serde_json::from_str(&line).ok().filter(Value::is_object);
        let columns =
            columns.ok_or_else(|| Failure::Usage(format!("line {number} of {} is no JSON object", path.display())))?;
        if line.len() > BYTES {
            return Err(Failure::Usage(format!("line {number} of {} has more than {BYTES} bytes", path.display())));
        }
        rows.push(Row { line: number, columns, bytes: line.len() });
    }
    if left == 0 {
        return Err(Failure::Usage(format!("{} has more than 64 MiB: split it", path.display())));
    }
    Ok(rows)
}

/// Rows of one tenant of the old system alone: a tenant here must not get another's secrets by accident.
fn of_tenant(rows: Vec<Row>, wanted: Option<&str>) -> Result<Vec<Row>, Failure> {
    let tenants: BTreeSet<String> = rows.iter().map(tenant).filter(|tenant| !tenant.is_empty()).collect();
    match wanted {
        None if tenants.len() > 1 => Err(Failure::Usage(format!(
            "the file has rows of several tenants ({}): name one with --old-tenant",
            tenants.into_iter().take(10).collect::<Vec<_>>().join(", ")
        ))),
        None => Ok(rows),
        Some(wanted) => Ok(rows.into_iter().filter(|row| tenant(row).is_empty() || tenant(row) == wanted).collect()),
    }
}

fn tenant(row: &Row) -> String {
    cell(&row.columns, "tenant_id")
}

fn batches(rows: Vec<Row>) -> Vec<Vec<Row>> {
    let mut batches: Vec<Vec<Row>> = Vec::new();
    let mut bytes = 0;
    for row in rows {
        match batches.last_mut() {
            Some(batch) if batch.len() < ROWS && bytes + row.bytes <= BYTES => {
                bytes += row.bytes;
                batch.push(row);
            }
            _ => {
                bytes = row.bytes;
                batches.push(vec![row]);
            }
        }
    }
    batches
}

fn told(report: &Value) -> String {
    let rows: Vec<_> = report
        .get("rows")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|row| {
            let warnings = row.get("warnings").and_then(Value::as_array).into_iter().flatten();
            let mut why: Vec<String> = warnings.filter_map(Value::as_str).map(str::to_owned).collect();
            why.extend(Some(cell(row, "reason")).filter(|reason| !reason.is_empty()));
            [cell(row, "line"), cell(row, "kind"), cell(row, "name"), cell(row, "outcome"), why.join("; ")]
        })
        .collect();
    let dry = report.get("dry_run").and_then(Value::as_bool).unwrap_or(false);
    let counts = format!(
        "{}{} imported, {} skipped, {} failed",
        if dry { "nothing was changed; it would be " } else { "" },
        cell(report, "imported"),
        cell(report, "skipped"),
        cell(report, "failed")
    );
    if rows.is_empty() {
        return counts;
    }
    format!("{}\n{counts}", table(["LINE", "KIND", "SERVER", "OUTCOME", "WHY"], &rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(line: u64, columns: Value) -> Row {
        let bytes = columns.to_string().len();
        Row { line, columns, bytes }
    }

    #[test]
    fn rows_of_several_tenants_are_not_mixed() {
        let rows =
            || vec![row(1, json!({"tenant_id": 1})), row(2, json!({"tenant_id": 2})), row(3, json!({"name": "x"}))];
        assert!(matches!(of_tenant(rows(), None), Err(Failure::Usage(why)) if why.contains("1, 2")));
        let lines: Vec<u64> = of_tenant(rows(), Some("2")).unwrap().iter().map(|row| row.line).collect();
        assert_eq!(lines, [2, 3]);
        assert_eq!(of_tenant(vec![row(1, json!({"tenant_id": "a"}))], None).unwrap().len(), 1);
    }

    #[test]
    fn batches_are_bounded_in_rows_and_bytes() {
        let small = (0..45).map(|line| row(line, json!({"a": 1}))).collect();
        assert_eq!(batches(small).iter().map(Vec::len).collect::<Vec<_>>(), [20, 20, 5]);
        let large = (0..3).map(|line| row(line, json!({"a": "x".repeat(BYTES / 2)}))).collect();
        assert_eq!(batches(large).len(), 3);
        assert!(batches(vec![]).is_empty());
    }

    #[test]
    fn a_line_that_is_no_row_is_named_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows");
        std::fs::write(&path, "{\"name\": \"x\"}\n\nghp_secret\n").unwrap();
        let told = read(&path).err().unwrap().to_string();
        assert!(told.contains("line 3") && !told.contains("ghp_"), "{told}");
        std::fs::write(&path, "{\"name\": \"x\"}\n\n{}\n").unwrap();
        assert_eq!(read(&path).unwrap().iter().map(|row| row.line).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn a_report_remembers_the_servers_for_the_rows_that_name_them() {
        let mut report = Report::default();
        report.take(&json!({"imported": 2, "skipped": 1, "failed": 1, "rows": [
            {"line": 4, "kind": "server", "name": "made", "outcome": "imported", "server": "id1"},
            {"line": 3, "kind": "server", "name": "there", "outcome": "skipped", "server": "id2", "reason": "is there"},
            {"line": 2, "kind": "server", "name": "dry", "outcome": "imported", "server": null},
            {"line": 1, "kind": "server", "name": "odd", "outcome": "failed", "server": null, "reason": "url"},
        ]}));
        assert_eq!(
            Value::Object(report.servers.clone()),
            json!({"made": "id1", "there": "id2", "dry": null, "odd": null})
        );
        let told = told(&report.document(true));
        assert!(told.ends_with("nothing was changed; it would be 2 imported, 1 skipped, 1 failed"), "{told}");
        assert!(told.find("odd") < told.find("made"), "in the order of the file: {told}");
    }
}
