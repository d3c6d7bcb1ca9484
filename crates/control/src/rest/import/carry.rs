//! Carries out what rows become: servers and connections as if somebody had made them here, one by one.
//!
//! What is there already is passed over, so that a second run imports nothing.

use std::collections::BTreeMap;

use model::{ConnectionStatus, ServerId};
use serde_json::Value;
use store::{Actor, ServerRecord, TenantStore};

use crate::App;
use crate::auth::{Credential, SecretJson};
use crate::connections::{Asker, Create, Given, within};
use crate::import::{self, ConnectionPlan, Planned, ServerPlan, Source};
use crate::rest::bodies::server;
use crate::rest::code::Code;
use crate::rest::fields::{Change, Fields};
use crate::rest::problem::Problem;
use crate::servers;

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was made; in a dry run it would have been.
    Imported,
    /// Nothing was to be made.
    Skipped,
    /// It could not be made.
    Failed,
}

/// The line of the report about a row.
pub(crate) struct Told {
    pub(crate) line: u64,
    pub(crate) kind: &'static str,
    /// What the row calls itself, for servers also in other rows.
    pub(crate) name: Option<String>,
    pub(crate) outcome: Outcome,
    pub(crate) reason: Option<String>,
    pub(crate) server: Option<ServerId>,
    pub(crate) connection: Option<String>,
    pub(crate) warnings: Vec<String>,
}

/// Who imports, and where to.
pub(crate) struct Import<'a> {
    pub(crate) app: &'a App,
    pub(crate) tenant: TenantStore,
    pub(crate) actor: Actor,
    pub(crate) asker: Asker,
    pub(crate) from: Source,
    pub(crate) dry_run: bool,
    pub(crate) key: Option<model::Secret>,
    /// Servers of earlier rows by what these call them; `None` for one that was not made.
    pub(crate) servers: BTreeMap<String, Option<ServerId>>,
}

impl Import<'_> {
    /// Imports a row. The error is one that the next row would meet too.
    pub(crate) async fn row(&mut self, line: u64, row: SecretJson) -> Result<Told, Problem> {
        let told = |kind, name| Told {
            line,
            kind,
            name,
            outcome: Outcome::Imported,
            reason: None,
            server: None,
            connection: None,
            warnings: Vec::new(),
        };
        match import::plan(self.from, row, self.key.as_ref()) {
            Ok(Planned::Skipped(why)) => Ok(Told { outcome: Outcome::Skipped, reason: Some(why), ..told("row", None) }),
            Ok(Planned::Server(plan)) => {
                let told = told("server", Some(plan.key.clone()));
                self.server(plan, told).await
            }
            Ok(Planned::Connection(plan)) => {
                let told = told("connection", Some(plan.server.clone()));
                self.connection(plan, told).await
            }
            Err(why) => Ok(failed(told("row", None), &why)),
        }
    }

    async fn server(&mut self, plan: ServerPlan, mut told: Told) -> Result<Told, Problem> {
        let ServerPlan { key, mut body, warnings } = plan;
        told.warnings = warnings;
        let title = body.expose().get("title").and_then(Value::as_str).unwrap_or_default().to_owned();
        let url = body.expose().get("url").and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(there) = self.tenant.server_by_title(&title).await? {
            let same = there.spec.url.as_str().trim_end_matches('/') == url.trim_end_matches('/');
            // What was given for one URL goes to no other: nothing of this server is made.
            self.servers.insert(key, same.then_some(there.spec.id));
            told.server = same.then_some(there.spec.id);
            let (outcome, why) = match same {
                true => (Outcome::Skipped, "a server of this title and URL is there already".to_owned()),
                false => (Outcome::Failed, "title_taken: a server of this title has another URL".to_owned()),
            };
            return Ok(Told { outcome, reason: Some(why), ..told });
        }
        let mut fields = Fields::of(body.take())?;
        let add = server::create(&mut fields);
        if let Err(wrong) = fields.finish() {
            return refused(told, wrong.into());
        }
        let Some(add) = add else { return Err(Problem::Internal) };
        if self.dry_run {
            told.warnings.extend(add.auth.iter().flat_map(|auth| auth.warnings.iter().cloned()));
            let policy = self.app.servers.policy_now().await?;
            self.servers.insert(key, None);
            return match policy.check_url(self.tenant.id(), add.url.url()) {
                Ok(_) => Ok(told),
                Err(why) => Ok(failed(told, &why)),
            };
        }
        match servers::add(self.app, &self.tenant, &self.actor, None, add).await {
            Ok(made) => {
                let id = made.record.spec.id;
                self.servers.insert(key, Some(id));
                told.server = Some(id);
                told.connection = made.connection.map(|id| id.to_string());
                told.warnings.extend(made.warnings);
                Ok(told)
            }
            Err(error) => refused(told, error.into()),
        }
    }

    async fn connection(&mut self, plan: ConnectionPlan, mut told: Told) -> Result<Told, Problem> {
        let record = match self.servers.get(&plan.server) {
            Some(None) if !self.dry_run => {
                let why = "its server was not imported".to_owned();
                return Ok(Told { outcome: Outcome::Failed, reason: Some(why), ..told });
            }
            // Nothing of a server that was not made can be looked at; the credential can.
            Some(None) => None,
            Some(Some(id)) => self.tenant.server(*id).await?,
            None => self.tenant.server_by_title(&plan.server).await?,
        };
        if record.is_none() && !matches!(self.servers.get(&plan.server), Some(None)) {
            let why = "its server is not there: import the servers' rows first, or with it".to_owned();
            return Ok(Told { outcome: Outcome::Failed, reason: Some(why), ..told });
        }
        told.server = record.as_ref().map(|record| record.spec.id);
        let credential = match plan.credential {
            None => None,
            Some(mut given) => match Credential::parse(given.take()) {
                Ok(credential) => Some(credential),
                Err(wrong) => return refused(told, wrong.into_iter().map(within).collect::<Vec<_>>().into()),
            },
        };
        let Some(record) = record else { return Ok(told) };
        let holder = self.holder(plan.scope, plan.holder).await?;
        let accepted = crate::connections::accepted(&record);
        let found = match self.asker.holder(&self.tenant, accepted, Some(plan.scope), holder.as_deref()).await {
            Ok(found) => found,
            Err(error) => return refused(told, error.into()),
        };
        if let Some(there) = self.tenant.connection_of(record.spec.id, found).await? {
            let why = "a connection for this server and holder is there already".to_owned();
            let connection = Some(there.id.to_string());
            return Ok(Told { outcome: Outcome::Skipped, reason: Some(why), connection, ..told });
        }
        if self.dry_run {
            return Ok(told);
        }
        let create = Create {
            scope: Some(plan.scope),
            holder,
            display_name: plan.display_name,
            external_subject: plan.external_subject,
            given: credential.map_or(Change::Keep, |credential| Change::Set(Given::Credential(credential))),
            meta: None,
            status: plan.disabled.then_some(ConnectionStatus::Disabled),
        };
        self.make(&record, create, told).await
    }

    async fn make(&self, record: &ServerRecord, create: Create, told: Told) -> Result<Told, Problem> {
        let made = self.app.connections.create(&self.tenant, &self.actor, self.asker, record, create).await;
        match made {
            Ok(made) => Ok(Told { connection: Some(made.record.id.to_string()), ..told }),
            Err(error) => refused(told, error.into()),
        }
    }

    /// The other system's id of a user is an external id here, where somebody noted it.
    async fn holder(&self, scope: model::Scope, named: Option<String>) -> Result<Option<String>, Problem> {
        let Some(named) = named else { return Ok(None) };
        if scope == model::Scope::User
            && let Some(user) = self.tenant.user_by_external_id(&named).await?
        {
            return Ok(Some(user.id.to_string()));
        }
        Ok(Some(named))
    }
}

/// A row that fails where the next one may not; or the error that all would meet.
fn refused(told: Told, problem: Problem) -> Result<Told, Problem> {
    let code = problem.code();
    if code.status().is_server_error() && code != Code::Internal {
        return Err(problem);
    }
    let reason = match &problem {
        Problem::Fields(wrong) => {
            let all: Vec<String> = wrong.iter().map(|wrong| format!("{}: {}", wrong.field, wrong.detail)).collect();
            all.join("; ")
        }
        other => format!("{}: {}", code.as_str(), other.detail()),
    };
    Ok(Told { outcome: Outcome::Failed, reason: Some(reason), ..told })
}

fn failed(told: Told, why: &(dyn std::error::Error + 'static)) -> Told {
    Told { outcome: Outcome::Failed, reason: Some(telemetry::chain(why).to_string()), ..told }
}
