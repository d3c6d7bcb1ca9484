//! What an upstream says when it refuses a credential: `WWW-Authenticate` of a 401 or 403, and a 401 that was folded into
//! a JSON-RPC error. Read by us alone: no client ever sees it, which would bring its own credential to that server.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use wire::Challenge;

/// Longest challenge that is read.
const LONGEST: usize = 8 << 10;

/// The challenge of an answer with this status: of its schemes the first Bearer one.
pub(super) fn challenge(status: u16, headers: &HeaderMap) -> Challenge {
    let values = headers.get_all(WWW_AUTHENTICATE).iter();
    let bearer = values.filter_map(|value| value.to_str().ok()).find_map(bearer);
    bearer.map_or_else(|| Challenge { status, ..Challenge::default() }, |challenge| Challenge { status, ..challenge })
}

/// The parameters of the first Bearer challenge in a header.
fn bearer(text: &str) -> Option<Challenge> {
    let mut rest = text.get(..text.len().min(LONGEST))?;
    let mut found: Option<Challenge> = None;
    while let Some(part) = next(&mut rest) {
        match part {
            Part::Scheme(scheme) => {
                if found.is_some() {
                    break;
                }
                found = scheme.eq_ignore_ascii_case("bearer").then(Challenge::default);
            }
            Part::Parameter(name, value) => {
                let Some(challenge) = &mut found else { continue };
                let place = match name.to_ascii_lowercase().as_str() {
                    "resource_metadata" => &mut challenge.resource_metadata,
                    "scope" => &mut challenge.scope,
                    "error" => &mut challenge.error,
                    _ => continue,
                };
                // The first one counts.
                place.get_or_insert(value);
            }
        }
    }
    found
}

enum Part<'a> {
    Scheme(&'a str),
    Parameter(&'a str, String),
}

/// The next scheme or parameter (RFC 9110, 11.6.1); `None` at the end, or where it is no such list.
fn next<'a>(rest: &mut &'a str) -> Option<Part<'a>> {
    *rest = rest.trim_start_matches([' ', '\t', ',']);
    let end = rest.find(|c: char| !is_token(c)).unwrap_or(rest.len());
    let (token, after) = rest.split_at_checked(end).filter(|(token, _)| !token.is_empty())?;
    let spaced = after.trim_start_matches([' ', '\t']);
    let Some(value) = spaced.strip_prefix('=') else {
        *rest = after;
        return Some(Part::Scheme(token));
    };
    let value = value.trim_start_matches([' ', '\t']);
    let Some(quoted) = value.strip_prefix('"') else {
        let end = value.find([',', ' ', '\t']).unwrap_or(value.len());
        let (plain, after) = value.split_at_checked(end)?;
        *rest = after;
        return Some(Part::Parameter(token, plain.to_owned()));
    };
    let (mut text, mut chars) = (String::new(), quoted.char_indices());
    loop {
        match chars.next()? {
            (at, '"') => {
                *rest = quoted.get(at + 1..)?;
                return Some(Part::Parameter(token, text));
            }
            (_, '\\') => text.push(chars.next()?.1),
            (_, char) => text.push(char),
        }
    }
}

fn is_token(char: char) -> bool {
    char.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(char)
}

/// A 401 in a JSON-RPC error object: the code 401, or -32001 that names the status or is nothing but its name, or the
/// challenge itself. Other words of an error prove nothing: they may be a tool's own.
pub(super) fn folded(error: &[u8]) -> Option<Challenge> {
    #[derive(serde::Deserialize)]
    struct Told {
        code: i64,
        #[serde(default)]
        message: String,
        #[serde(default)]
        data: serde_json::Value,
    }
    let told: Told = serde_json::from_slice(error).ok()?;
    let said = ["_meta", ""].into_iter().find_map(|place| {
        let within = if place.is_empty() { Some(&told.data) } else { told.data.get(place) };
        match within?.get("mcp/www_authenticate")? {
            serde_json::Value::String(text) => Some(text.clone()),
            serde_json::Value::Array(texts) => texts.first()?.as_str().map(str::to_owned),
            _ => None,
        }
    });
    let status = ["status", "statusCode", "httpStatus"].into_iter().find_map(|name| told.data.get(name)?.as_u64());
    let is_401 = told.code == 401
        || (told.code == -32001 && (status == Some(401) || is_its_name(&told.message)))
        || said.is_some();
    let challenge = said.and_then(|text| bearer(&text)).unwrap_or_default();
    is_401.then_some(Challenge { status: 401, ..challenge })
}

/// The status line of a 401 and nothing else.
fn is_its_name(message: &str) -> bool {
    ["HTTP 401", "HTTP 401 Unauthorized", "401 Unauthorized"].iter().any(|name| message.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Option<[Option<String>; 3]> {
        bearer(text).map(|Challenge { resource_metadata, scope, error, .. }| [resource_metadata, scope, error])
    }

    #[test]
    fn r59_a_challenge_is_read_as_rfc_9110_writes_it() {
        let some = |text: &str| Some(text.to_owned());
        for (text, expected) in [
            ("Bearer", Some([None, None, None])),
            ("bearer error=invalid_token", Some([None, None, some("invalid_token")])),
            (
                r#"Bearer realm="x", resource_metadata="https://a/b?c=d,e", scope="a b", error="insufficient_scope""#,
                Some([some("https://a/b?c=d,e"), some("a b"), some("insufficient_scope")]),
            ),
            (r#"Basic realm="a, b", Bearer scope = "x""#, Some([None, some("x"), None])),
            (r#"Bearer scope="x", DPoP error="other""#, Some([None, some("x"), None])),
            (r#"Bearer scope="say \"hi\"""#, Some([None, some("say \"hi\""), None])),
            (r#"Bearer error="first", error="second""#, Some([None, None, some("first")])),
            (r#"Bearer scope="never ends"#, Some([None, None, None])),
            ("Basic realm=x", None),
            ("", None),
            (r#"="x""#, None),
        ] {
            assert_eq!(told(text), expected, "{text}");
        }
    }

    #[test]
    fn r59_a_401_is_seen_in_an_error_only_where_it_says_so() {
        for (error, seen) in [
            (r#"{"code":401,"message":"x"}"#, true),
            (r#"{"code":-32001,"message":"x","data":{"status":401}}"#, true),
            (r#"{"code":-32001,"message":"HTTP 401 Unauthorized"}"#, true),
            (r#"{"code":-32001,"message":"the site said HTTP 401 Unauthorized"}"#, false),
            (r#"{"code":-32000,"message":"x","data":{"status":401}}"#, false),
            (r#"{"code":-32603,"message":"401 Unauthorized"}"#, false),
            (r#"{"code":-32603,"message":"x","data":{"_meta":{"mcp/www_authenticate":["Bearer scope=\"a\""]}}}"#, true),
            (r#"{"code":"401","message":"x"}"#, false),
            ("[]", false),
        ] {
            assert_eq!(folded(error.as_bytes()).is_some(), seen, "{error}");
        }
        let said = folded(br#"{"code":1,"message":"","data":{"mcp/www_authenticate":"Bearer scope=\"a\""}}"#).unwrap();
        assert_eq!((said.status, said.scope.as_deref()), (401, Some("a")));
    }
}
