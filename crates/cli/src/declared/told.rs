//! A plan for people and for programs.

use serde_json::{Value, json};

use super::Whose;
use super::plan::{Action, Plan, Step, place};
use super::schema::Kind;
use crate::screen::plain;

/// One line for each record and for each field of it, and how many there are.
pub(crate) fn as_text(plan: &Plan) -> String {
    let mut text = String::new();
    for step in &plan.steps {
        let sign = match step.action {
            Action::Create(_) => '+',
            Action::Change { .. } | Action::Switch { .. } => '~',
            Action::Delete(_) => '-',
        };
        text.push_str(&format!("{sign} {}\n", plain(&step.to_string())));
        for (field, change) in fields(step) {
            text.push_str(&format!("    {field}: {}\n", plain(&change)));
        }
    }
    for left in &plan.left {
        text.push_str(&format!("  {}\n", plain(left)));
    }
    let count = |sign: fn(&Action) -> bool| plan.steps.iter().filter(|step| sign(&step.action)).count();
    let created = count(|action| matches!(action, Action::Create(_)));
    let removed = count(|action| matches!(action, Action::Delete(_)));
    match plan.steps.len() {
        0 => text.push_str("nothing is to be done\n"),
        all => {
            text.push_str(&format!("{created} to create, {} to change, {removed} to remove\n", all - created - removed))
        }
    }
    text
}

fn fields(step: &Step) -> Vec<(&'static str, String)> {
    match &step.action {
        // A key and a rule are named by what they say.
        Action::Create(record) if step.kind != Kind::Egress => {
            record.said(step.kind).map(|(field, value)| (field.name, short(value))).collect()
        }
        Action::Change { changes, .. } => changes
            .iter()
            .map(|change| (change.field, format!("{} -> {}", short(&change.from), short(&change.to))))
            .collect(),
        Action::Create(_) | Action::Switch { .. } | Action::Delete(_) => Vec::new(),
    }
}

/// Most characters of one value in a plan.
const LONGEST: usize = 120;

fn short(value: &Value) -> String {
    let told = match value {
        Value::Null => "none".to_owned(),
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if told.chars().count() <= LONGEST { told } else { told.chars().take(LONGEST - 1).chain(['…']).collect() }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{} {}", place(&self.whose), self.kind.word(), self.name)?;
        match self.action {
            Action::Switch { active: true } => write!(f, ": {} are let in", let_in(self.kind)),
            Action::Switch { active: false } => write!(f, ": {} are refused", let_in(self.kind)),
            Action::Create(_) | Action::Change { .. } | Action::Delete(_) => Ok(()),
        }
    }
}

/// What an enabled record lets in.
fn let_in(kind: Kind) -> &'static str {
    if kind == Kind::Issuer { "tokens" } else { "keys" }
}

/// One object for each step, with every field in full.
pub(crate) fn as_json(plan: &Plan) -> Value {
    let steps: Vec<Value> = plan.steps.iter().map(step_json).collect();
    json!({ "steps": steps, "left": plan.left })
}

fn step_json(step: &Step) -> Value {
    let tenant = match &step.whose {
        Whose::Tenant(name) => Some(name),
        Whose::Platform | Whose::Own => None,
    };
    let (word, fields): (_, Vec<Value>) = match &step.action {
        Action::Create(record) => {
            let said = record.said(step.kind);
            ("create", said.map(|(field, value)| json!({ "field": field.name, "to": value })).collect())
        }
        Action::Change { changes, .. } => (
            "change",
            changes
                .iter()
                .map(|change| json!({ "field": change.field, "from": change.from, "to": change.to }))
                .collect(),
        ),
        Action::Switch { active } => {
            ("change", vec![json!({ "field": step.kind.switch(), "from": !active, "to": active })])
        }
        Action::Delete(_) => ("remove", Vec::new()),
    };
    json!({ "action": word, "tenant": tenant, "kind": step.kind.word(), "name": step.name, "fields": fields })
}
