//! Egress rules: create. The tenant is named by id or name, and looked up by the handler.

use model::{EgressRule, HostPattern};
use utoipa::ToSchema;

use crate::rest::code::Code;
use crate::rest::fields::{Fields, flag, text, words};

/// Characters of a reason.
const MAX_REASON: usize = 1000;

/// A new rule.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = EgressRuleCreate)]
#[serde(deny_unknown_fields)]
pub(crate) struct EgressRuleCreate {
    /// An exact host name, an address, or a network such as `10.20.0.0/16`.
    #[schema(min_length = 1, max_length = 253)]
    host: String,
    /// A port or a range such as `8000-8100`; null for those of the default policy.
    #[schema(pattern = "^[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?$")]
    ports: Option<String>,
    /// Whether plain http is allowed too; false when absent.
    http: Option<bool>,
    /// Name or id of the one tenant it is for; null for all.
    #[schema(min_length = 1, max_length = 64)]
    tenant: Option<String>,
    /// Why, for whoever reads the list next year.
    #[schema(min_length = 1, max_length = 1000)]
    reason: String,
}

/// A create as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Create {
    pub(crate) host: HostPattern,
    pub(crate) ports: Option<(u16, u16)>,
    pub(crate) http: bool,
    /// Name or id.
    pub(crate) tenant: Option<String>,
    pub(crate) reason: String,
}

/// Reads a create; `None` when something is wrong, which `fields` then knows.
pub(crate) fn create(fields: &mut Fields) -> Option<Create> {
    fields.immutable(&["id", "generation", "created_by", "created_at", "updated_at"]);
    let host = fields.required("host", |value| {
        let host = text(253)(value)?.parse::<HostPattern>().map_err(|error| (Code::Host, error.to_string()))?;
        if egress::opens_nothing(&host) {
            let why = "is never reached, whatever a rule says: cloud metadata, link-local, multicast or reserved";
            return Err((Code::Host, why.to_owned()));
        }
        Ok(host)
    });
    let ports = fields.optional("ports", |value| {
        EgressRule::parse_ports(&text(16)(value)?).map_err(|error| (Code::Ports, error.to_string()))
    });
    let http = fields.optional("http", flag).unwrap_or(false);
    let tenant = fields.optional("tenant", words(64));
    let reason = fields.required("reason", words(MAX_REASON));
    Some(Create { host: host?, ports, http, tenant, reason: reason? })
}

#[cfg(test)]
mod tests {
    use super::super::tests::agree;
    use super::*;

    #[test]
    fn the_document_and_the_parser_know_the_same_members() {
        agree::<EgressRuleCreate, _>(create);
    }

    #[test]
    fn a_rule_that_would_open_nothing_is_refused_by_its_host() {
        for (host, taken) in [("10.0.0.0/8", true), ("169.254.169.254", false), ("metadata.google.internal", false)] {
            let mut fields = Fields::of(serde_json::json!({"host": host, "reason": "r"})).unwrap();
            assert_eq!((create(&mut fields).is_some(), fields.finish().is_ok()), (taken, taken), "{host}");
        }
    }
}
