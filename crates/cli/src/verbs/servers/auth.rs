//! What of a server's body has to do with secrets. They are read here, and go nowhere but into the request.

use std::path::{Path, PathBuf};

use model::Secret;
use serde_json::{Value, json};

use crate::args::{AuthArgs, AuthWord, Field};
use crate::failure::Failure;
use crate::verbs::body::Body;
use crate::verbs::connections::{credential, secrets, typed};

/// The members `auth` or `auth_config`, and `credential`.
pub(super) fn with_auth(body: Body, args: &AuthArgs) -> Result<Body, Failure> {
    one_input(args)?;
    let body = match (&args.auth_file, args.auth) {
        (Some(file), _) => {
            let (member, settings) = settings(file)?;
            body.with(member, Some(settings))
        }
        (None, Some(word)) => body.with("auth", Some(typed_settings(word, args)?)),
        (None, None) => body,
    };
    let credential = match &args.credential_file {
        Some(file) => Some(credential(&typed(file)?)),
        None => secrets(&fields(args))?,
    };
    Ok(body.with("credential", credential))
}

/// Secrets that are headers may be called as the header is written.
fn fields(args: &AuthArgs) -> Vec<Field> {
    let mut fields = args.credential_fields.clone();
    if args.auth == Some(AuthWord::Headers) {
        fields.iter_mut().for_each(|field| field.name.make_ascii_lowercase());
    }
    fields
}

/// Settings from a file: those of version 1 name a provider.
fn settings(file: &Path) -> Result<(&'static str, Value), Failure> {
    let text = typed(file)?;
    match serde_json::from_str::<Value>(text.expose()) {
        Ok(settings) if settings.get("provider").is_some() => Ok(("auth_config", settings)),
        Ok(settings) if settings.is_object() => Ok(("auth", settings)),
        _ => Err(Failure::Usage(format!("{} holds no JSON object with `type`, or with `provider`", file.display()))),
    }
}

fn typed_settings(word: AuthWord, args: &AuthArgs) -> Result<Value, Failure> {
    let header = match (word, args.auth_header.as_slice()) {
        (AuthWord::ApiKey, [header]) => Some(header.as_str()),
        (AuthWord::ApiKey, [_, _, ..]) => {
            return Err(Failure::Usage("an API key goes into one header; `--auth headers` is for several".to_owned()));
        }
        (AuthWord::ApiKey | AuthWord::Headers, _) | (_, []) => None,
        _ => return Err(Failure::Usage("--auth-header goes with api-key and headers".to_owned())),
    };
    let names = if word == AuthWord::Headers { args.auth_header.as_slice() } else { &[] };
    let scopes: Vec<String> = args.scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
    let method = match (args.client_key_file.is_some(), args.client_secret_post) {
        (true, _) => Some("private_key_jwt"),
        (_, true) => Some("client_secret_post"),
        _ => None,
    };
    let file = |file: &Option<PathBuf>| -> Result<Option<Value>, Failure> {
        Ok(match file {
            Some(file) => Some(text(&typed(file)?)),
            None => None,
        })
    };
    Ok(Body::default()
        .with("type", Some(word.as_str()))
        .with_all("scopes", &scopes)
        .with("header", header)
        .with_all("names", names)
        .with("parameter", args.auth_parameter.as_deref())
        .with("client_certificate", args.client_certificate.then_some(true))
        .with("token_url", args.token_url.as_deref())
        .with("issuer", args.issuer.as_deref())
        .with("client_id", args.client_id.as_deref())
        .with("client_secret", file(&args.client_secret_file)?)
        .with("private_key", file(&args.client_key_file)?)
        .with("method", method)
        .with("scope", args.oauth_scope.as_deref())
        .with("audience", args.audience.as_deref())
        .with("resource", args.resource.as_deref())
        .value())
}

fn text(secret: &Secret) -> Value {
    json!(secret.expose())
}

/// Standard input is read once.
fn one_input(args: &AuthArgs) -> Result<(), Failure> {
    let files = [&args.auth_file, &args.credential_file, &args.client_secret_file, &args.client_key_file];
    let named = files.into_iter().flatten().map(PathBuf::as_path);
    let fields = args.credential_fields.iter().map(|field| field.file.as_path());
    if named.chain(fields).filter(|file| *file == Path::new("-")).count() > 1 {
        return Err(Failure::Usage("standard input holds one secret: give the others as files".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, ServerVerb, Verb};
    use crate::home;
    use crate::verbs::servers::bodies::{change_body, create_body};

    fn body(line: &str) -> Result<Value, Failure> {
        match Cli::try_parse_from(line.split_whitespace()).unwrap().verb {
            Verb::Server(ServerVerb::Add(add)) => create_body(&add),
            Verb::Server(ServerVerb::Set(change)) => change_body(&change),
            other => panic!("{other:?}"),
        }
    }

    fn secret(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
        let path = folder.path().join(name);
        home::replace(&path, 0o600, text).unwrap();
        path.display().to_string()
    }

    #[test]
    fn every_way_becomes_its_settings_and_secrets_come_from_files() {
        let folder = tempfile::tempdir().unwrap();
        let (token, pair) = (secret(&folder, "t", "tok\n"), secret(&folder, "p", "{\"secrets\":{\"username\":\"a\"}}"));
        for (typed, auth, credential) in [
            (format!("bearer --credential-file {token}"), json!({"type": "bearer"}), json!("tok")),
            (
                format!("api-key --auth-header X-Key --connections user,global --credential-file {token}"),
                json!({"type": "api_key", "header": "X-Key", "scopes": ["user", "global"]}),
                json!("tok"),
            ),
            (
                format!("basic --credential-file {pair}"),
                json!({"type": "basic"}),
                json!({"secrets": {"username": "a"}}),
            ),
            (
                format!("headers --auth-header A --auth-header B --credential-field A={token}"),
                json!({"type": "headers", "names": ["A", "B"]}),
                json!({"secrets": {"a": "tok"}}),
            ),
            ("query --auth-parameter key".to_owned(), json!({"type": "query", "parameter": "key"}), Value::Null),
            ("oauth".to_owned(), json!({"type": "authorization_code"}), Value::Null),
            (
                format!(
                    "client-credentials --token-url https://t/t --client-id c --client-secret-file {token} \
                     --client-secret-post --oauth-scope a --audience x --resource https://h"
                ),
                json!({"type": "client_credentials", "token_url": "https://t/t", "client_id": "c", "client_secret": "tok",
                    "method": "client_secret_post", "scope": "a", "audience": "x", "resource": "https://h"}),
                Value::Null,
            ),
            (
                format!("client-credentials --issuer https://t --client-id c --client-key-file {token}"),
                json!({"type": "client_credentials", "issuer": "https://t", "client_id": "c", "private_key": "tok",
                    "method": "private_key_jwt"}),
                Value::Null,
            ),
        ] {
            for line in [format!("g server add n http://h --auth {typed}"), format!("g server set n --auth {typed}")] {
                let body = body(&line).unwrap();
                assert_eq!(body["auth"], auth, "{line}");
                assert_eq!(body.get("credential").unwrap_or(&Value::Null), &credential, "{line}");
            }
        }
    }

    #[test]
    fn settings_of_a_file_are_told_apart_by_their_members() {
        let folder = tempfile::tempdir().unwrap();
        let native = secret(&folder, "a", "{\"type\":\"bearer\"}");
        let version1 = secret(&folder, "b", "{\"version\":1,\"provider\":\"bound_secret\"}");
        let none = secret(&folder, "c", "[]");
        let said = |file: &str| body(&format!("g server add n http://h --auth-file {file}"));
        assert_eq!(said(&native).unwrap()["auth"], json!({"type": "bearer"}));
        assert_eq!(said(&version1).unwrap()["auth_config"]["provider"], "bound_secret");
        assert_eq!(said(&none).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn what_does_not_go_together_is_wrong_usage() {
        for line in [
            "g server add n http://h --auth bearer --auth-header X",
            "g server add n http://h --auth api-key --auth-header X --auth-header Y",
            "g server add n http://h --auth bearer --credential-file - --client-secret-file -",
        ] {
            assert_eq!(body(line).unwrap_err().exit_code(), 2, "{line}");
        }
        for line in [
            "g server add n http://h --auth magic",
            "g server add n http://h --auth-header X",
            "g server add n http://h --auth bearer --auth-file f",
            "g server add n http://h --auth bearer --credential sekrit",
            "g server set n --no-credential --credential-file f",
        ] {
            assert!(Cli::try_parse_from(line.split_whitespace()).is_err(), "{line}");
        }
    }

    #[test]
    fn a_credential_is_taken_away_by_a_flag() {
        assert_eq!(body("g server set n --no-credential").unwrap(), json!({"credential": null}));
    }
}
