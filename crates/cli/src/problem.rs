//! What control says when it refuses: `application/problem+json`, read leniently, told in plain words.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A refusal. Every member may be missing: what arrives may come from something in between.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// What was asked for, where the refusal doesn't say.
    #[serde(skip_deserializing, skip_serializing_if = "String::is_empty")]
    pub(crate) about: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// Stable word for programs.
    pub(crate) code: String,
    /// Short text of the kind.
    pub(crate) title: String,
    /// What is wrong this time.
    pub(crate) detail: String,
    /// By which the log line is found.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) trace_id: String,
    /// The record that stands in the way, where it is a connection.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) connection: String,
    /// One entry for each wrong field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<FieldProblem>,
}

/// What is wrong with one field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct FieldProblem {
    /// Which one, e.g. `url`.
    pub(crate) field: String,
    /// Stable word for programs.
    pub(crate) code: String,
    /// What is wrong with it.
    pub(crate) detail: String,
}

impl Problem {
    /// Reads the body of an answer with this status. A body that is no problem+json loses nothing
    /// but its text: the status speaks then.
    pub(crate) fn read(status: u16, body: &[u8]) -> Self {
        let mut problem: Self = serde_json::from_slice(body).unwrap_or_default();
        problem.status = status;
        problem
    }
}

impl FieldProblem {
    fn what(&self) -> &str {
        if self.detail.is_empty() { &self.code } else { &self.detail }
    }
}

/// How a field is typed, where its flag is called otherwise.
fn flag(field: &str) -> Option<Cow<'static, str>> {
    // A connection's are told in the same way, and typed a little shorter.
    if let Some(name) = field.strip_prefix("credential.secrets.") {
        return Some(Cow::Owned(format!("--credential-field {name}=FILE, in `connection set` --field {name}=FILE")));
    }
    if let Some(member) = field.strip_prefix("auth.") {
        return Some(Cow::Borrowed(auth_flag(member)));
    }
    let field = field.strip_prefix("limits.").unwrap_or(field);
    let field = field.split(['.', '[']).next().unwrap_or_default();
    let flag = match field {
        "connect_timeout_ms" => "--connect-timeout",
        "read_timeout_ms" => "--read-timeout",
        "retry_count" => "--retry-count",
        "retry_delay_ms" => "--retry-delay",
        "disabled_tools" => "--disable-tool",
        "trust_hints" => "--trust-hints",
        "headers" => "--header",
        "tags" => "--tag",
        "auth" => "--auth",
        "credential" => "--credential-file",
        "scope_type" => "--scope",
        "scope_id" => "--scope and --for",
        "reference" => "--reference",
        "departments" => "--department",
        "external_id" => "--external-id",
        "pools" => "--pool",
        "stale_after_secs" => "--stale-after",
        "max_stale_credential_secs" => "--max-stale-credential",
        "key_rate" => "--key-rate",
        "tenant_rate" => "--tenant-rate",
        "upstream_concurrent" => "--upstream-concurrent",
        "request_bytes" => "--request-bytes",
        "response_bytes" => "--response-bytes",
        "call_secs" => "--call-secs",
        "expires_at" => "--expires-in",
        "grace_secs" => "--grace",
        "ttl" => "--ttl",
        "scopes" => "--scope",
        "audiences" => "--audience",
        "algorithms" => "--algorithm",
        "client_id" => "--client-id",
        "client_secret" => "--client-secret-file",
        "unknown_users" => "--unknown-users",
        "sign_in" => "--sign-in",
        "authorization_server" => "--authorization-server",
        "local_accounts" => "--local-accounts",
        _ => return None,
    };
    Some(Cow::Borrowed(flag))
}

/// The same of a member of a server's settings of authentication.
fn auth_flag(member: &str) -> &'static str {
    match member.split(['.', '[']).next().unwrap_or_default() {
        "parameter" => "--auth-parameter",
        "header" | "names" => "--auth-header",
        "token_url" | "issuer" => "--token-url or --issuer",
        "client_id" => "--client-id",
        "client_secret" => "--client-secret-file",
        "private_key" => "--client-key-file",
        "scope" => "--oauth-scope",
        "scopes" => "--connections",
        "audience" => "--audience",
        "resource" => "--resource",
        "client_certificate" => "--client-certificate",
        _ => "--auth, or --auth-file for what has no flag",
    }
}

/// What to do about a refusal, where its sentence does not say it in words of this program.
fn way_out(code: &str) -> Option<&'static str> {
    Some(match code {
        "credential_unreadable" => {
            "where it is kept by reference, `gatehouse connection test SERVER` says what is wrong there"
        }
        "referenced" => "`gatehouse server deps` lists them",
        "name_taken" => "`set` changes the one that is there",
        "credential_reentry_required" => "--credential-file FILE sends it again, --no-credential removes it",
        "login_not_supported" => {
            "`gatehouse connection set` gives it a credential; `gatehouse server set SERVER --auth oauth` has people sign in"
        }
        "scope_not_accepted" => {
            "`gatehouse server show` says whose it accepts, `gatehouse server set SERVER --auth TYPE --connections WHO` changes that"
        }
        _ => return None,
    })
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.status == 401 {
            return f.write_str(
                "the key is not accepted (unknown, revoked or ended, or its user or tenant is disabled); \
                 `gatehouse up --new-keys` makes two new ones for a folder",
            );
        }
        if !self.about.is_empty() {
            write!(f, "{}: ", self.about)?;
        }
        if self.status == 412 {
            return f.write_str(
                "somebody else changed it between reading and writing; nothing was written. Look at it, then run the command again",
            );
        }
        match (self.detail.as_str(), self.title.as_str()) {
            ("", "") => write!(f, "control answered {}", self.status)?,
            ("", said) | (said, _) => f.write_str(said)?,
        }
        // A detail that ends with a class, as of an upstream's failure, says more than the code.
        if !self.code.is_empty() && !self.detail.ends_with(')') {
            write!(f, " ({})", self.code)?;
        }
        if let Some(way) = way_out(&self.code) {
            write!(f, "\n  {way}")?;
        }
        for error in &self.errors {
            let flag = flag(&error.field);
            let said = !error.detail.is_empty() && self.detail.contains(&error.detail);
            match (flag, said) {
                // With one wrong field the sentence above names it already.
                (None, true) => {}
                (Some(flag), true) => write!(f, "\n  {}: see {flag}", error.field)?,
                (None, false) => write!(f, "\n  {}: {}", error.field, error.what())?,
                (Some(flag), false) => write!(f, "\n  {} ({flag}): {}", error.field, error.what())?,
            }
        }
        if self.status == 500 && !self.trace_id.is_empty() {
            write!(f, "\n  trace id for the log: {}", self.trace_id)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detail_and_fields_are_told_in_plain_words() {
        let body = br#"{"type":"about:blank","title":"Invalid","status":422,"code":"invalid","detail":"two fields are wrong",
            "trace_id":"t","errors":[{"field":"url","code":"url_scheme","detail":"the scheme must be http or https"},{"field":"name","code":"shape"}]}"#;
        let told = Problem::read(422, body).to_string();
        assert_eq!(told, "two fields are wrong (invalid)\n  url: the scheme must be http or https\n  name: shape");
    }

    #[test]
    fn a_field_that_is_typed_otherwise_is_told_with_its_flag() {
        let body = br#"{"code":"range","detail":"`retry_delay_ms` must be 0 to 60000",
            "errors":[{"field":"retry_delay_ms","code":"range","detail":"must be 0 to 60000"},
                {"field":"limits.call_secs","code":"range","detail":"must be 1 to 120"}]}"#;
        let expected = "`retry_delay_ms` must be 0 to 60000 (range)\n  retry_delay_ms: see --retry-delay\n  \
            limits.call_secs (--call-secs): must be 1 to 120";
        assert_eq!(Problem::read(422, body).to_string(), expected);
    }

    #[test]
    fn what_changed_meanwhile_says_what_to_do() {
        let problem = Problem { about: "servers/notes".to_owned(), status: 412, ..Problem::default() };
        let told = problem.to_string();
        assert!(told.starts_with("servers/notes: somebody else changed it") && told.contains("run the command again"));
    }

    #[test]
    fn what_is_referred_to_says_where_that_is_listed() {
        let told = Problem::read(409, br#"{"code":"referenced","detail":"keys name it"}"#).to_string();
        assert_eq!(told, "keys name it (referenced)\n  `gatehouse server deps` lists them");
    }

    #[test]
    fn settings_of_authentication_and_secrets_are_told_with_the_flag_that_gives_them() {
        let body = br#"{"code":"required","detail":"`auth.parameter` is required",
            "errors":[{"field":"auth.parameter","code":"required","detail":"is required"},
                {"field":"credential.secrets.x-two","code":"required","detail":"is needed by the server's settings"}]}"#;
        let told = Problem::read(422, body).to_string();
        assert!(told.contains("auth.parameter: see --auth-parameter"), "{told}");
        assert!(told.contains("(--credential-field x-two=FILE, in `connection set` --field x-two=FILE)"), "{told}");
    }

    #[test]
    fn a_refusal_with_a_way_out_names_the_command() {
        for (code, command) in [
            ("credential_reentry_required", "--no-credential"),
            ("login_not_supported", "gatehouse connection set"),
            ("scope_not_accepted", "gatehouse server set SERVER --auth TYPE"),
        ] {
            let told = Problem { code: code.to_owned(), ..Problem::default() }.to_string();
            assert!(told.contains(command), "{told}");
        }
    }

    #[test]
    fn one_word_in_brackets_is_enough() {
        let body = br#"{"code":"upstream_failed","detail":"the upstream answered 404 (not_found)"}"#;
        assert_eq!(Problem::read(502, body).to_string(), "the upstream answered 404 (not_found)");
    }

    #[test]
    fn a_key_that_is_not_accepted_has_a_way_out() {
        let told = Problem::read(401, br#"{"code":"unauthenticated","detail":"send a key"}"#).to_string();
        assert!(told.starts_with("the key is not accepted") && told.contains("up --new-keys"), "{told}");
    }

    #[test]
    fn what_is_missing_is_told_to_programs_too() {
        let problem = Problem { about: "servers/notes".to_owned(), status: 404, ..Problem::default() };
        assert_eq!(serde_json::to_value(&problem).unwrap()["about"], "servers/notes");
    }

    #[test]
    fn a_body_that_is_no_problem_leaves_the_status() {
        for body in [&b""[..], b"<html>", b"[1]", b"{}"] {
            assert_eq!(Problem::read(502, body).to_string(), "control answered 502");
        }
    }

    #[test]
    fn the_trace_id_is_told_where_a_log_must_be_read() {
        let told = Problem::read(500, br#"{"detail":"internal error","trace_id":"abc"}"#).to_string();
        assert_eq!(told, "internal error\n  trace id for the log: abc");
    }
}
