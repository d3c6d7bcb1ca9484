//! Connections: create, change, status, search by a secret. Holders are named by id or name, and looked up by the
//! handler.

use model::{ConnectionStatus, Scope, Secret};
use serde_json::{Map, Value};
use store::Reference;
use utoipa::ToSchema;

use super::MAX_TITLE;
use crate::auth::Credential;
use crate::connections::{Create, Given, Patch, within};
use crate::rest::code::Code;
use crate::rest::fields::{Change, FieldError, Fields, Wrong, text, words};
use crate::rest::views::ScopeTypeView;

/// Characters of a subject as an upstream tells it.
const MAX_SUBJECT: usize = 255;
/// Bytes of `meta_json`, as JSON.
const MAX_META: usize = 4 << 10;
/// Characters of a source's name, and of a name within it.
const MAX_SOURCE: usize = 64;
const MAX_REFERENCE: usize = 512;
/// Bytes of a secret that is searched for.
const MAX_SECRET: usize = 16 << 10;

/// A new connection.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = ConnectionCreate)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnectionCreate {
    /// How many share it. When absent: `user` for a user, for an admin the first that the server accepts.
    scope_type: Option<ScopeTypeView>,
    /// The department or the user, by id, name or login; when absent, the caller. Global ones have none.
    #[schema(max_length = 256)]
    scope_id: Option<String>,
    /// Name for people.
    #[schema(max_length = 200)]
    display_name: Option<String>,
    /// Who the upstream says that it is, for people.
    #[schema(max_length = 255)]
    external_subject: Option<String>,
    /// The credential, never shown again: an object of `secrets`, or of `access_token`, `refresh_token`, `expires_in`,
    /// `expires_at`, `scope`, `token_type`, `issuer_url`; or a text, which is one secret.
    #[schema(write_only)]
    credential: Option<Value>,
    /// Where the credential is kept instead of here.
    reference: Option<ReferenceGiven>,
    /// What is worth keeping beside it: an object without secrets.
    #[schema(value_type = Option<Object>)]
    meta_json: Option<Value>,
    /// `active` or `disabled`; `active` when absent.
    status: Option<StatusGiven>,
}

/// What to change of a connection; absent members stay.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = ConnectionChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnectionChange {
    /// Name for people; null for none.
    #[schema(max_length = 200)]
    display_name: Option<String>,
    /// Who the upstream says that it is, for people; null for nobody.
    #[schema(max_length = 255)]
    external_subject: Option<String>,
    /// A new credential in the place of the old one, never shown again; null for none.
    #[schema(write_only)]
    credential: Option<Value>,
    /// Where the credential is kept from now on.
    #[schema(nullable = false)]
    reference: Option<ReferenceGiven>,
    /// All of it anew; null for an empty object.
    #[schema(value_type = Option<Object>)]
    meta_json: Option<Value>,
    /// `active` or `disabled`.
    #[schema(nullable = false)]
    status: Option<StatusGiven>,
}

/// A new status.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = ConnectionStatusChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatusChange {
    /// `disabled` puts an active connection aside, `active` uses one again that was put aside.
    status: StatusGiven,
}

/// A secret that may be in use.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = SecretSearch)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretSearch {
    /// The secret; it is neither kept nor logged.
    #[schema(min_length = 1, max_length = 16384, write_only)]
    secret: String,
}

/// Where a credential is kept.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = Reference)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReferenceGiven {
    /// A source that the platform's configuration names.
    #[schema(min_length = 1, max_length = 64)]
    source: String,
    /// A relative name within the tenant's part of it.
    #[schema(min_length = 1, max_length = 512)]
    name: String,
}

/// What people set a status to.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[serde(rename_all = "snake_case")]
#[schema(as = ConnectionStatusGiven)]
enum StatusGiven {
    Active,
    Disabled,
}

/// Reads a create.
pub(crate) fn create(fields: &mut Fields) -> Create {
    given_by_us(fields);
    let scope = fields.optional("scope_type", scope);
    let holder = fields.optional("scope_id", words(256));
    let display_name = fields.optional("display_name", text(MAX_TITLE));
    let external_subject = fields.optional("external_subject", text(MAX_SUBJECT));
    let credential = credential(fields);
    let reference = reference(fields);
    let given = one_of(fields, credential, reference);
    let meta = fields.optional("meta_json", meta);
    let status = fields.optional("status", status);
    let fresh = !matches!(status, Some(ConnectionStatus::ReauthRequired | ConnectionStatus::Invalid));
    if !fresh {
        fields.wrong("status", (Code::ConnectionStatus, "a new one is active or disabled".to_owned()));
    }
    Create { scope, holder, display_name, external_subject, given, meta, status: status.filter(|_| fresh) }
}

/// Reads a PATCH.
pub(crate) fn change(fields: &mut Fields) -> Patch {
    given_by_us(fields);
    fields.immutable(&["scope_type", "scope_id", "server"]);
    let display_name = fields.change("display_name", text(MAX_TITLE)).nullable();
    let external_subject = fields.change("external_subject", text(MAX_SUBJECT)).nullable();
    let credential = credential(fields);
    let reference = reference(fields);
    let given = one_of(fields, credential, reference);
    let meta = fields.change("meta_json", meta).or_default(|| "{}".to_owned());
    let status = fields.replace("status", status);
    Patch { display_name, external_subject, given, meta, status }
}

/// Reads a new status.
pub(crate) fn status_change(fields: &mut Fields) -> Option<ConnectionStatus> {
    fields.required("status", status)
}

/// Reads a secret that is searched for.
pub(crate) fn find(fields: &mut Fields) -> Option<Secret> {
    fields.required("secret", |value| match value {
        Value::String(text) if text.is_empty() => Err((Code::Required, "must not be empty".to_owned())),
        Value::String(text) if text.len() > MAX_SECRET => Err((Code::TooLong, format!("at most {MAX_SECRET} bytes"))),
        Value::String(text) => Ok(Secret::new(text)),
        _ => Err((Code::Type, "must be a text".to_owned())),
    })
}

fn given_by_us(fields: &mut Fields) {
    fields.given_by_us();
    fields.immutable(&["credential_version", "token_generation", "last_error", "last_success_at"]);
}

/// The credential, each mistake with its path.
fn credential(fields: &mut Fields) -> Change<Credential> {
    match fields.change("credential", Ok) {
        Change::Keep => Change::Keep,
        Change::Clear => Change::Clear,
        Change::Set(value) => match Credential::parse(value) {
            Ok(credential) => Change::Set(credential),
            Err(wrong) => {
                for FieldError { field, code, detail } in wrong.into_iter().map(within) {
                    fields.wrong(field, (code, detail));
                }
                Change::Keep
            }
        },
    }
}

fn reference(fields: &mut Fields) -> Change<Reference> {
    let read = fields.object("reference", |inner| {
        let source = inner.required("source", words(MAX_SOURCE));
        let name = inner.required("name", words(MAX_REFERENCE));
        source.zip(name).map(|(source, name)| Reference { source, name })
    });
    match read {
        Change::Set(Some(reference)) => Change::Set(reference),
        Change::Set(None) | Change::Keep => Change::Keep,
        Change::Clear => Change::Clear,
    }
}

/// A credential is here or elsewhere, not both.
fn one_of(fields: &mut Fields, credential: Change<Credential>, reference: Change<Reference>) -> Change<Given> {
    match (credential, reference) {
        (Change::Set(_), Change::Set(_)) => {
            let detail = "a credential is given or referred to, not both".to_owned();
            fields.wrong("reference", (Code::Duplicate, detail));
            Change::Keep
        }
        (Change::Set(credential), _) => Change::Set(Given::Credential(credential)),
        (_, Change::Set(reference)) => Change::Set(Given::Reference(reference)),
        (Change::Clear, _) | (_, Change::Clear) => Change::Clear,
        (Change::Keep, Change::Keep) => Change::Keep,
    }
}

/// The word of a scope; `system` is an alias of `global`.
pub(crate) fn scope(value: Value) -> Result<Scope, Wrong> {
    Scope::parse(&text(32)(value)?)
        .ok_or_else(|| (Code::ConnectionScope, "must be global, department or user".to_owned()))
}

fn status(value: Value) -> Result<ConnectionStatus, Wrong> {
    ConnectionStatus::parse(&text(32)(value)?)
        .ok_or_else(|| (Code::ConnectionStatus, "must be active or disabled".to_owned()))
}

/// An object, as canonical text.
fn meta(value: Value) -> Result<String, Wrong> {
    let Value::Object(members) = value else { return Err((Code::Type, "must be an object".to_owned())) };
    let text = Value::Object(Map::from_iter(members)).to_string();
    if text.len() > MAX_META { Err((Code::TooLong, format!("at most {MAX_META} bytes"))) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::agree;
    use super::*;

    #[test]
    fn the_document_and_the_parser_know_the_same_members() {
        agree::<ConnectionCreate, _>(create);
        agree::<ConnectionChange, _>(change);
        agree::<StatusChange, _>(status_change);
        agree::<SecretSearch, _>(find);
    }

    /// Field and code of each mistake.
    fn wrong<T>(body: Value, read: impl FnOnce(&mut Fields) -> T) -> Vec<(String, &'static str)> {
        let mut fields = Fields::of(body).unwrap();
        read(&mut fields);
        let wrong = fields.finish().err().unwrap_or_default();
        wrong.into_iter().map(|one| (one.field, one.code.as_str())).collect()
    }

    #[test]
    fn every_mistake_in_a_new_connection_is_told_with_its_path() {
        for (body, field, code) in [
            (json!({"scope_type": "team"}), "scope_type", "connection_scope"),
            (json!({"scope_type": 7}), "scope_type", "type"),
            (json!({"status": "reauth_required"}), "status", "connection_status"),
            (json!({"status": "gone"}), "status", "connection_status"),
            (json!({"meta_json": []}), "meta_json", "type"),
            (json!({"meta_json": {"a": "b".repeat(MAX_META)}}), "meta_json", "too_long"),
            (json!({"reference": {"source": "vault"}}), "reference.name", "required"),
            (json!({"reference": {"source": "a", "name": "b", "c": 1}}), "reference.c", "unknown_field"),
            (json!({"reference": {"source": "a", "name": "b"}, "credential": "s"}), "reference", "duplicate"),
            (json!({"display_name": "a".repeat(201)}), "display_name", "too_long"),
            (json!({"generation": 1}), "generation", "immutable_field"),
            (json!({"token_generation": 1}), "token_generation", "immutable_field"),
            (json!({"secret": "s"}), "secret", "unknown_field"),
        ] {
            assert_eq!(wrong(body.clone(), create), [(field.to_owned(), code)], "{body}");
        }
        assert_eq!(wrong(json!({"scope_id": "x"}), change), [("scope_id".to_owned(), "immutable_field")]);
        assert_eq!(wrong(json!({"status": null}), change), [("status".to_owned(), "not_clearable")]);
        assert!(wrong(json!({"scope_type": "system", "credential": "a-secret"}), create).is_empty());
    }

    #[test]
    fn a_credential_is_kept_taken_away_or_replaced() {
        let given = |body: Value| {
            let mut fields = Fields::of(body).unwrap();
            change(&mut fields).given
        };
        assert!(matches!(given(json!({})), Change::Keep));
        assert!(matches!(given(json!({"credential": null})), Change::Clear));
        assert!(matches!(given(json!({"credential": "a-secret"})), Change::Set(Given::Credential(_))));
        let reference = json!({"reference": {"source": "vault", "name": "notes"}});
        assert!(matches!(given(reference), Change::Set(Given::Reference(_))));
    }
}
