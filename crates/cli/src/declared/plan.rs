//! What is to be done so that a house becomes what a document declares: pure, in an order that can be carried out.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::document::{Declared, Document, Held, Present, Record, Whose};
use super::read::Mistake;
use super::schema::{AUTH, AUTH_SECRETS, CLIENT_SECRET, CREDENTIAL, HELD, Kind, TOOLS, reference};
use super::view::is_none;

/// What is asked beyond what the document says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Remove what the sections of the document don't name.
    pub(crate) prune: bool,
    /// Make keys.
    pub(crate) create_keys: bool,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    /// What is left undone on purpose, one sentence each.
    pub(crate) left: Vec<String>,
}

/// One change of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) whose: Whose,
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) action: Action,
}

/// What happens to the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// It is made.
    Create(Record),
    /// These fields change.
    Change { held: Held, to: Record, changes: Vec<FieldChange> },
    /// What it lets in is let in, or refused.
    Switch { active: bool },
    /// It is removed.
    Delete(Held),
}

/// How one field changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldChange {
    pub(crate) field: &'static str,
    pub(crate) from: Value,
    pub(crate) to: Value,
}

/// Compares. Mistakes that only the house shows, such as a department that is nowhere, prevent a plan.
pub(crate) fn plan(document: &Document, present: &Present, wish: Wish) -> Result<Plan, Vec<Mistake>> {
    let mut planning =
        Planning { document, present, wish, plan: Plan::default(), last: Vec::new(), removals: Vec::new() };
    let mut mistakes = Vec::new();
    for ((whose, kind), declared) in &document.sections {
        match kind {
            Kind::Key => planning.keys(whose, declared, &mut mistakes),
            kind => {
                planning.refers(whose, *kind, declared, &mut mistakes);
                planning.section(whose, *kind, declared);
            }
        }
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let Planning { mut plan, last, removals, .. } = planning;
    // What is removed goes after everything that may have referred to it, children before parents.
    plan.steps.extend(removals.into_iter().rev());
    plan.steps.extend(last);
    Ok(plan)
}

struct Planning<'a> {
    document: &'a Document,
    present: &'a Present,
    wish: Wish,
    plan: Plan,
    last: Vec<Step>,
    removals: Vec<Step>,
}

impl Planning<'_> {
    fn section(&mut self, whose: &Whose, kind: Kind, declared: &[Declared]) {
        let held: HashMap<&str, &Held> =
            self.present.section(whose, kind).iter().map(|held| (held.record.name.as_str(), held)).collect();
        for Declared { record, .. } in declared {
            match held.get(record.name.as_str()) {
                None => self.create(whose, kind, record),
                Some(held) => self.change(whose, kind, held, record),
            }
        }
        if self.wish.prune {
            let named: BTreeSet<&str> = declared.iter().map(|declared| declared.record.name.as_str()).collect();
            for held in self.present.section(whose, kind) {
                if !named.contains(held.record.name.as_str()) {
                    self.remove(whose, kind, held);
                }
            }
        }
    }

    fn create(&mut self, whose: &Whose, kind: Kind, record: &Record) {
        self.push(whose, kind, &record.name, Action::Create(record.clone()));
        if kind.switch().is_some_and(|flag| record.get(kind, flag) == &Value::Bool(false)) {
            self.switch(whose, kind, &record.name, false);
        }
        if record.get(kind, CLIENT_SECRET) == HELD {
            self.secret_is_missing(whose, kind, &record.name);
        }
    }

    fn change(&mut self, whose: &Whose, kind: Kind, held: &Held, to: &Record) {
        let pairs = held.record.fields(kind).zip(to.fields(kind));
        let differ = pairs.filter(|((field, from), (_, to))| match (kind, field.name) {
            (Kind::Issuer, CLIENT_SECRET) => secret_differs(from, to),
            (Kind::Server, AUTH) => auth_differs(from, to),
            // Nobody can say whether it is the one that is there.
            (Kind::Server, CREDENTIAL) => false,
            _ => from != to,
        });
        let changes = differ.map(|((field, from), (_, to))| FieldChange {
            field: field.name,
            from: from.clone(),
            to: to.clone(),
        });
        let (switched, changes): (Vec<_>, Vec<_>) = changes.partition(|change| kind.switch() == Some(change.field));
        if !changes.is_empty() {
            self.push(whose, kind, &to.name, Action::Change { held: held.clone(), to: to.clone(), changes });
        }
        for change in switched {
            self.switch(whose, kind, &to.name, change.to == Value::Bool(true));
        }
        if held.record.get(kind, CLIENT_SECRET).is_null() && to.get(kind, CLIENT_SECRET) == HELD {
            self.secret_is_missing(whose, kind, &to.name);
        }
    }

    fn secret_is_missing(&mut self, whose: &Whose, kind: Kind, name: &str) {
        let there = if let Whose::Tenant(tenant) = whose { format!(" --tenant {tenant}") } else { String::new() };
        let what = format!("{}{} {name} is without the secret of its client", place(whose), kind.word());
        self.plan.left.push(format!("{what}: `gatehouse issuer set {name} --client-secret-file FILE{there}`"));
    }

    /// What a tenant or an issuer lets in is refused after everything else is as declared, and let in before.
    fn switch(&mut self, whose: &Whose, kind: Kind, name: &str, active: bool) {
        let step = Step { whose: whose.clone(), kind, name: name.to_owned(), action: Action::Switch { active } };
        if active { self.plan.steps.push(step) } else { self.last.push(step) }
    }

    fn remove(&mut self, whose: &Whose, kind: Kind, held: &Held) {
        let name = &held.record.name;
        let own = match kind {
            Kind::Tenant => self.present.own_tenant.as_deref() == Some(name),
            Kind::User => self.present.own_user.as_deref() == Some(name) && self.is_own(whose),
            _ => false,
        };
        if own {
            self.plan
                .left
                .push(format!("{} {name} is not in the document and stays: this key belongs to it", kind.word()));
            return;
        }
        let action = Action::Delete(held.clone());
        self.removals.push(Step { whose: whose.clone(), kind, name: name.clone(), action });
    }

    fn is_own(&self, whose: &Whose) -> bool {
        match whose {
            Whose::Own => true,
            Whose::Tenant(name) => self.present.own_tenant.as_ref() == Some(name),
            Whose::Platform => false,
        }
    }

    /// Keys are made when asked, one for each declaration that no live key stands for.
    fn keys(&mut self, whose: &Whose, declared: &[Declared], mistakes: &mut Vec<Mistake>) {
        let mut live: HashMap<&str, usize> = HashMap::new();
        for held in self.present.section(whose, Kind::Key) {
            *live.entry(held.record.name.as_str()).or_default() += 1;
        }
        let mut missing = Vec::new();
        for declared in declared {
            match live.get_mut(declared.record.name.as_str()) {
                Some(count) if *count > 0 => *count -= 1,
                _ => missing.push(declared.clone()),
            }
        }
        if self.wish.create_keys {
            self.refers(whose, Kind::Key, &missing, mistakes);
            for Declared { record, .. } in missing {
                self.push(whose, Kind::Key, &record.name, Action::Create(record.clone()));
            }
        } else {
            for Declared { record, .. } in missing {
                let place = place(whose);
                self.plan.left.push(format!("{place}key {} is not made: --create-keys does", record.name));
            }
        }
    }

    fn push(&mut self, whose: &Whose, kind: Kind, name: &str, action: Action) {
        self.plan.steps.push(Step { whose: whose.clone(), kind, name: name.to_owned(), action });
    }

    /// Everything that a record names must be there in the end.
    fn refers(&self, whose: &Whose, kind: Kind, declared: &[Declared], mistakes: &mut Vec<Mistake>) {
        let references: &[(&str, Kind)] = match kind {
            Kind::Egress => &[("tenant", Kind::Tenant)],
            Kind::User => &[("departments", Kind::Department)],
            Kind::Key => &[("user", Kind::User), ("servers", Kind::Server)],
            Kind::Toolset => &[(TOOLS, Kind::Server)],
            Kind::Tenant | Kind::Department | Kind::Server | Kind::Issuer => &[],
        };
        for (field, target) in references {
            let there = self.in_the_end(whose, *target);
            for Declared { line, record } in declared {
                let one = record.get(kind, field).as_str();
                for name in one.into_iter().chain(record.texts(kind, field)) {
                    if !there.contains(name) {
                        mistakes.push(Mistake {
                            line: *line,
                            path: format!("{}{} {}", place(whose), kind.word(), record.name),
                            what: format!("{field}: there is no {} {name}", target.word()),
                        });
                    }
                }
            }
        }
    }

    /// The names of a section once the plan has been carried out.
    fn in_the_end(&self, whose: &Whose, kind: Kind) -> BTreeSet<&str> {
        let declared = self.document.sections.get(&(whose.clone(), kind));
        let held = self.present.section(whose, kind).iter().map(|held| held.record.name.as_str());
        let stays = held.filter(|_| declared.is_none() || !self.wish.prune);
        stays.chain(declared.into_iter().flatten().map(|declared| declared.record.name.as_str())).collect()
    }
}

/// Whether settings of authentication are to be changed: those of which the document says nothing stay. A secret that is
/// there stays, wherever the document says that it is.
fn auth_differs(from: &Value, to: &Value) -> bool {
    let is_there = |name: &str| from.get(name).and_then(|secret| secret.get("configured")) == Some(&Value::Bool(true));
    let mut rest = to.clone();
    for name in AUTH_SECRETS {
        if to.get(name).and_then(Value::as_str).and_then(reference).is_some() {
            if !is_there(name) {
                return true;
            }
            if let Some(members) = rest.as_object_mut() {
                members.remove(name);
            }
        }
    }
    match (from, to) {
        (_, Value::Null) => false,
        (Value::Null, to) => !is_none(to),
        (from, _) => !says(from, &rest),
    }
}

/// Whether settings say everything that is declared of them: what the document leaves out is control's to choose.
fn says(held: &Value, declared: &Value) -> bool {
    match (held, declared) {
        (Value::Object(held), Value::Object(declared)) => declared
            .iter()
            .all(|(name, declared)| held.get(name).map_or(declared.is_null(), |held| says(held, declared))),
        (held, declared) => held == declared,
    }
}

/// Whether a secret must be sent or cleared. One that is there stays, wherever the document says that one is; the word
/// that stands for one in an export is none that could be sent.
fn secret_differs(from: &Value, to: &Value) -> bool {
    if from.is_null() { !to.is_null() && *to != HELD } else { to.is_null() }
}

/// `acme: ` before what stands in the tenant acme.
pub(super) fn place(whose: &Whose) -> String {
    match whose {
        Whose::Tenant(name) => format!("{name}: "),
        Whose::Platform | Whose::Own => String::new(),
    }
}

#[cfg(test)]
mod tests;
