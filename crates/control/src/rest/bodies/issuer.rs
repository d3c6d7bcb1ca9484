//! Identity providers: create and change.

use std::collections::BTreeMap;

use model::{ClaimMapping, IssuerName, KeyRole, Secret, SigningAlgorithm};
use serde_json::Value;
use utoipa::ToSchema;

use super::MAX_TITLE;
use crate::issuers::is_issuer;
use crate::rest::code::Code;
use crate::rest::fields::{Change, Fields, Wrong, flag, role, slug, text, texts, words};
use crate::rest::views::RoleView;

/// Characters of an issuer and of an audience.
const MAX_URL: usize = 2048;
/// Audiences beside the URL.
const MAX_AUDIENCES: usize = 16;
/// Characters of a client id and of a claim's name.
const MAX_WORD: usize = 256;
/// Characters of a client's secret.
const MAX_SECRET: usize = 1024;
/// Values of the role's claim that stand for something.
const MAX_ROLES: usize = 64;

/// A new identity provider.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = IssuerCreate)]
#[serde(deny_unknown_fields)]
pub(crate) struct IssuerCreate {
    /// Unique in the tenant.
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{0,31}$")]
    name: String,
    /// What stands on the button; the name when absent.
    #[schema(max_length = 200)]
    title: Option<String>,
    /// The claim `iss` of its tokens, byte by byte: an https URL below which its discovery document is.
    #[schema(min_length = 1, max_length = 2048)]
    issuer: String,
    /// What people sign in with at this service: the client that is registered there.
    #[schema(min_length = 1, max_length = 256)]
    client_id: Option<String>,
    /// The secret of that client; never shown again.
    #[schema(min_length = 1, max_length = 1024, write_only)]
    client_secret: Option<String>,
    /// Audiences of access tokens that are taken, beside the URL that they are presented at.
    #[schema(max_items = 16)]
    audiences: Option<Vec<String>>,
    /// How its tokens may be signed: `RS256`, `ES256`, `EdDSA`; all of them when absent.
    #[schema(min_items = 1, max_items = 3)]
    algorithms: Option<Vec<String>>,
    claims: Option<ClaimsBody>,
    /// A scope that access tokens must have.
    #[schema(min_length = 1, max_length = 256)]
    scope: Option<String>,
    /// Whether users without a record come in; false when absent.
    unknown_users: Option<bool>,
    /// Whether people may sign in with it here, which needs a client; false when absent.
    sign_in: Option<bool>,
    /// Whether MCP clients may present its access tokens; true when absent.
    mcp: Option<bool>,
    /// Save without asking it; its keys are fetched later.
    unchecked: Option<bool>,
}

/// What to change of an identity provider; absent members stay. Another issuer is another record.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = IssuerChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct IssuerChange {
    /// Unique in the tenant.
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{0,31}$", nullable = false)]
    name: Option<String>,
    /// What stands on the button.
    #[schema(max_length = 200, nullable = false)]
    title: Option<String>,
    /// The client that is registered there; null for none.
    #[schema(min_length = 1, max_length = 256)]
    client_id: Option<String>,
    /// The secret of that client; null for none.
    #[schema(min_length = 1, max_length = 1024, write_only)]
    client_secret: Option<String>,
    /// Audiences that are taken beside the URL; null for none.
    #[schema(max_items = 16)]
    audiences: Option<Vec<String>>,
    /// How its tokens may be signed; null for all that there are.
    #[schema(min_items = 1, max_items = 3)]
    algorithms: Option<Vec<String>>,
    claims: Option<ClaimsBody>,
    /// A scope that access tokens must have; null for none.
    #[schema(min_length = 1, max_length = 256)]
    scope: Option<String>,
    /// Whether users without a record come in; null for no.
    unknown_users: Option<bool>,
    /// Whether people may sign in with it here; null for no.
    sign_in: Option<bool>,
    /// Whether MCP clients may present its access tokens; null for yes.
    mcp: Option<bool>,
}

/// Which claims say what; members that are absent stay, null is the default. A name with dots walks into objects.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = ClaimsChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClaimsBody {
    /// Of the login; `preferred_username`.
    #[schema(min_length = 1, max_length = 256)]
    login: Option<String>,
    /// Of the external id; `sub`.
    #[schema(min_length = 1, max_length = 256)]
    external_id: Option<String>,
    /// Of the departments; none.
    #[schema(min_length = 1, max_length = 256)]
    departments: Option<String>,
    /// Of the role; none.
    #[schema(min_length = 1, max_length = 256)]
    role: Option<String>,
    /// What the values of the role's claim stand for; other values stand for nothing.
    roles: Option<BTreeMap<String, RoleView>>,
}

/// A create as it was read.
#[derive(Debug)]
pub(crate) struct Create {
    pub(crate) name: IssuerName,
    pub(crate) issuer: String,
    pub(crate) unchecked: bool,
    pub(crate) rest: Patch,
}

/// A PATCH as it was read.
#[derive(Debug, Default)]
pub(crate) struct Patch {
    pub(crate) name: Option<IssuerName>,
    pub(crate) title: Option<String>,
    pub(crate) client_id: Option<Option<String>>,
    pub(crate) client_secret: Option<Option<Secret>>,
    pub(crate) audiences: Option<Vec<String>>,
    pub(crate) algorithms: Option<Vec<SigningAlgorithm>>,
    pub(crate) claims: Claims,
    pub(crate) scope: Option<Option<String>>,
    pub(crate) unknown_users: Option<bool>,
    pub(crate) sign_in: Option<bool>,
    pub(crate) mcp: Option<bool>,
}

/// What a body says of the claims.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    login: Option<String>,
    external_id: Option<String>,
    departments: Option<Option<String>>,
    role: Option<Option<String>>,
    roles: Option<Vec<(String, KeyRole)>>,
}

impl Claims {
    /// The mapping that comes of this one.
    pub(crate) fn over(self, mapping: ClaimMapping) -> ClaimMapping {
        ClaimMapping {
            login: self.login.unwrap_or(mapping.login),
            external_id: self.external_id.unwrap_or(mapping.external_id),
            departments: self.departments.unwrap_or(mapping.departments),
            role: self.role.unwrap_or(mapping.role),
            roles: self.roles.unwrap_or(mapping.roles),
        }
    }
}

/// Reads a create; `None` when something is wrong, which `fields` then knows.
pub(crate) fn create(fields: &mut Fields, dev: bool) -> Option<Create> {
    fields.given_by_us();
    fields.immutable(&["enabled"]);
    let name: Option<IssuerName> = fields.required("name", slug);
    let issuer = fields.required("issuer", |value| {
        let issuer = words(MAX_URL)(value)?;
        let wrong = || (Code::UrlInvalid, "must be an https URL without query, fragment and user name".to_owned());
        if is_issuer(&issuer, dev) { Ok(issuer) } else { Err(wrong()) }
    });
    let unchecked = fields.optional("unchecked", flag).unwrap_or(false);
    let title = fields.optional("title", text(MAX_TITLE));
    let rest = Patch { title, ..common(fields) };
    if rest.sign_in == Some(true) && rest.client_id.as_ref().is_none_or(Option::is_none) {
        fields.wrong("client_id", no_client());
    }
    Some(Create { name: name?, issuer: issuer?, unchecked, rest })
}

/// Reads a PATCH.
pub(crate) fn change(fields: &mut Fields) -> Patch {
    fields.given_by_us();
    fields.immutable(&["enabled", "issuer"]);
    let name = fields.replace("name", slug);
    let title = fields.replace("title", text(MAX_TITLE));
    Patch { name, title, ..common(fields) }
}

/// Why people can't sign in without a client.
pub(crate) fn no_client() -> Wrong {
    (Code::Required, "is required where people sign in".to_owned())
}

fn common(fields: &mut Fields) -> Patch {
    let secret = |value| words(MAX_SECRET)(value).map(Secret::new);
    Patch {
        name: None,
        title: None,
        client_id: fields.change("client_id", words(MAX_WORD)).nullable(),
        client_secret: fields.change("client_secret", secret).nullable(),
        audiences: fields.change("audiences", texts(MAX_AUDIENCES, MAX_URL)).or_default(Vec::new),
        algorithms: fields.change("algorithms", algorithms).or_default(|| SigningAlgorithm::ALL.to_vec()),
        claims: claims(fields),
        scope: fields.change("scope", scope).nullable(),
        unknown_users: fields.change("unknown_users", flag).or_default(|| false),
        sign_in: fields.change("sign_in", flag).or_default(|| false),
        mcp: fields.change("mcp", flag).or_default(|| true),
    }
}

fn claims(fields: &mut Fields) -> Claims {
    let usual = ClaimMapping::default();
    let read = |inner: &mut Fields| {
        let ClaimMapping { login, external_id, .. } = ClaimMapping::default();
        Claims {
            login: inner.change("login", words(MAX_WORD)).or_default(|| login),
            external_id: inner.change("external_id", words(MAX_WORD)).or_default(|| external_id),
            departments: inner.change("departments", words(MAX_WORD)).nullable(),
            role: inner.change("role", words(MAX_WORD)).nullable(),
            roles: inner.change("roles", roles).or_default(Vec::new),
        }
    };
    match fields.object("claims", read) {
        Change::Keep => Claims::default(),
        Change::Set(claims) => claims,
        Change::Clear => Claims {
            login: Some(usual.login),
            external_id: Some(usual.external_id),
            departments: Some(usual.departments),
            role: Some(usual.role),
            roles: Some(usual.roles),
        },
    }
}

fn roles(value: Value) -> Result<Vec<(String, KeyRole)>, Wrong> {
    let Value::Object(members) = value else { return Err((Code::Type, "must be an object".to_owned())) };
    if members.len() > MAX_ROLES {
        return Err((Code::TooMany, format!("at most {MAX_ROLES} entries")));
    }
    members.into_iter().map(|(name, value)| Ok((text(MAX_WORD)(name.into())?, role(value)?))).collect()
}

fn algorithms(value: Value) -> Result<Vec<SigningAlgorithm>, Wrong> {
    let names = texts(SigningAlgorithm::ALL.len(), 16)(value)?;
    let read = |name: &String| SigningAlgorithm::parse(name);
    match names.iter().map(read).collect::<Option<Vec<_>>>() {
        Some(algorithms) if algorithms.is_empty() => Err((Code::Required, "must name at least one".to_owned())),
        Some(algorithms) => Ok(algorithms),
        None => Err((Code::Algorithm, "an algorithm is RS256, ES256 or EdDSA".to_owned())),
    }
}

/// One word of a scope, as RFC 6749 spells it.
fn scope(value: Value) -> Result<String, Wrong> {
    let scope = words(MAX_WORD)(value)?;
    let fits = scope.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
    if fits { Ok(scope) } else { Err((Code::Slug, "must be printable ASCII without spaces".to_owned())) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::agree;
    use super::*;

    #[test]
    fn the_document_and_the_parser_know_the_same_members() {
        agree::<IssuerCreate, _>(|fields| create(fields, false));
        agree::<IssuerChange, _>(change);
    }

    #[test]
    fn claims_that_are_not_named_stay() {
        let mut fields = Fields::of(json!({"claims": {"login": "email", "roles": {"boss": "tenant_admin"}}})).unwrap();
        let before = ClaimMapping { departments: Some("groups".to_owned()), ..ClaimMapping::default() };
        let after = change(&mut fields).claims.over(before.clone());
        assert_eq!((after.login.as_str(), after.departments), ("email", before.departments.clone()));
        assert_eq!(after.roles, [("boss".to_owned(), KeyRole::TenantAdmin)]);
        let mut fields = Fields::of(json!({"claims": null})).unwrap();
        assert_eq!(change(&mut fields).claims.over(before), ClaimMapping::default());
    }

    #[test]
    fn mistakes_are_told_with_their_paths() {
        for (body, field, code) in [
            (json!({"issuer": "http://id.example"}), "issuer", Code::UrlInvalid),
            (json!({"algorithms": ["HS256"]}), "algorithms", Code::Algorithm),
            (json!({"algorithms": ["none"]}), "algorithms", Code::Algorithm),
            (json!({"algorithms": []}), "algorithms", Code::Required),
            (json!({"sign_in": true}), "client_id", Code::Required),
            (json!({"scope": "a b"}), "scope", Code::Slug),
            (json!({"claims": {"roles": {"a": "king"}}}), "claims.roles", Code::Role),
            (json!({"enabled": true}), "enabled", Code::ImmutableField),
        ] {
            let mut whole = json!({"name": "a", "issuer": "https://id.example"});
            whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
            let mut fields = Fields::of(whole).unwrap();
            create(&mut fields, false);
            let wrong = fields.finish().unwrap_err();
            assert_eq!(wrong.iter().map(|one| (one.field.as_str(), one.code)).collect::<Vec<_>>(), [(field, code)]);
        }
    }
}
