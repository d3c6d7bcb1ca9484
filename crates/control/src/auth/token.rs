//! Tokens: what an authorization server answered, when it ends, and when it is time for the next one.

use std::fmt;

use model::Secret;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use super::credential::Credential;
use super::secret::SecretJson;

/// Seconds that a token is believed to be good at most: an answer that says more means "very long".
const MAX_LIFETIME: i64 = 10 * 366 * 24 * 3600;
/// Bytes of an answer that is read.
pub(crate) const MAX_ANSWER: usize = 64 << 10;
/// What an answer is made of, unless its server's settings say otherwise.
const MEMBERS: [&str; 6] = ["access_token", "expires_at", "expires_in", "refresh_token", "scope", "token_type"];
const MICROS: i64 = 1_000_000;

/// Where the parts of a token stand in an answer: names of parts, and dotted paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResponseMap(pub(crate) Vec<(String, String)>);

impl Default for ResponseMap {
    /// The names of OAuth.
    fn default() -> Self {
        Self(MEMBERS.iter().map(|name| ((*name).to_owned(), (*name).to_owned())).collect())
    }
}

/// What was obtained with a credential.
pub(crate) struct Token {
    /// What is sent.
    pub(crate) access_token: Secret,
    /// What the next one is got with.
    pub(crate) refresh_token: Option<Secret>,
    /// When it ends, microseconds since 1970; `None`: when it is refused.
    pub(crate) expires_at: Option<i64>,
    /// When we got it, microseconds since 1970.
    pub(crate) obtained_at: i64,
    /// What it is good for, as its server says.
    pub(crate) scope: Option<String>,
    /// Mostly `Bearer`.
    pub(crate) token_type: String,
    /// Who granted it: its refresh token goes nowhere else.
    pub(crate) issuer: Option<String>,
    /// The client that it was granted to.
    pub(crate) client_id: Option<String>,
    /// Further members that the settings asked for.
    extra: SecretJson,
}

/// Why an answer holds no token. Never quotes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    /// No JSON, or no object.
    #[error("the answer of the token endpoint is not a JSON object")]
    NotJson,
    /// An answer without a token.
    #[error("the answer of the token endpoint holds no access token at `{0}`")]
    NoAccessToken(String),
    /// Some say an error with status 200.
    #[error("the token endpoint refused: {0}")]
    Refused(String),
    /// An access token that can't be sent.
    #[error("the access token holds characters that a header can't hold")]
    Unusable,
}

impl Token {
    /// Reads an answer of a token endpoint. A part that it doesn't have is taken from the `previous` token, if that
    /// lasts longer than one token: the refresh token, the scope.
    pub(crate) fn from_response(
        body: &[u8],
        map: &ResponseMap,
        now: i64,
        previous: Option<&Token>,
    ) -> Result<Self, TokenError> {
        let answer = SecretJson::parse(body).filter(|answer| answer.expose().is_object()).ok_or(TokenError::NotJson)?;
        let mut parts = SecretJson::new(Value::Object(Map::new()));
        for (name, path) in &map.0 {
            if let Some(value) = answer.at(path).filter(|value| !value.is_null()) {
                parts.insert(name, SecretJson::new(value.clone()));
            }
        }
        if parts.at("access_token").is_none()
            && let Some(code) = oauth_error(body)
        {
            return Err(TokenError::Refused(code));
        }
        let Some(mut token) = Self::of_parts(&mut parts, now) else {
            let path = map.0.iter().find(|(name, _)| name == "access_token");
            return Err(TokenError::NoAccessToken(path.map(|(_, path)| path.clone()).unwrap_or_default()));
        };
        if !token.access_token.expose().bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            return Err(TokenError::Unusable);
        }
        if let Some(previous) = previous {
            let kept = || previous.refresh_token.as_ref().map(|secret| Secret::new(secret.expose().to_owned()));
            token.refresh_token = token.refresh_token.or_else(kept);
            token.scope = token.scope.or_else(|| previous.scope.clone());
            token.issuer = previous.issuer.clone();
            token.client_id = previous.client_id.clone();
        }
        Ok(token)
    }

    /// The token that a person gave, if there is one in the credential. When it was given is when it was obtained.
    pub(crate) fn from_credential(credential: &Credential, now: i64) -> Option<Self> {
        let mut parts = SecretJson::new(Value::Object(Map::new()));
        for name in MEMBERS {
            if let Some(value) = credential.member(name) {
                parts.insert(name, SecretJson::new(value));
            }
        }
        if let (None, Some(token)) = (parts.at("access_token"), credential.access_token()) {
            parts.insert("access_token", SecretJson::new(Value::String(token.to_owned())));
        }
        let mut token = Self::of_parts(&mut parts, now)?;
        token.issuer = credential.member_text("issuer_url").map(str::to_owned);
        Some(token)
    }

    fn of_parts(parts: &mut SecretJson, now: i64) -> Option<Self> {
        let expires_at = expiry(parts.at("expires_at"), parts.at("expires_in"), now);
        let Value::Object(mut members) = parts.take() else { return None };
        let mut text = |name: &str| match members.remove(name).map(SecretJson::new) {
            Some(mut json) => match json.take() {
                Value::String(text) if !text.is_empty() => Some(Secret::new(text)),
                other => {
                    drop(SecretJson::new(other));
                    None
                }
            },
            None => None,
        };
        let (access_token, refresh_token) = (text("access_token"), text("refresh_token"));
        let (scope, token_type) = (text("scope"), text("token_type"));
        members.remove("expires_in");
        members.remove("expires_at");
        let extra = SecretJson::new(Value::Object(members));
        Some(Self {
            access_token: access_token?,
            refresh_token,
            expires_at,
            obtained_at: now,
            scope: scope.map(|scope| scope.expose().to_owned()),
            token_type: token_type.map_or_else(|| "Bearer".to_owned(), |word| word.expose().to_owned()),
            issuer: None,
            client_id: None,
            extra,
        })
    }

    /// To be sealed.
    pub(crate) fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let json = SecretJson::new(json!({
            "access_token": self.access_token.expose(),
            "refresh_token": self.refresh_token.as_ref().map(Secret::expose),
            "expires_at": self.expires_at,
            "obtained_at": self.obtained_at,
            "scope": self.scope,
            "token_type": self.token_type,
            "issuer": self.issuer,
            "client_id": self.client_id,
            "extra": self.extra.expose(),
        }));
        json.to_bytes()
    }

    /// What was sealed; `None` for anything else.
    pub(crate) fn from_json(bytes: &[u8]) -> Option<Self> {
        let json = SecretJson::parse(bytes)?;
        let text = |name: &str| json.expose().get(name)?.as_str().map(str::to_owned);
        Some(Self {
            access_token: Secret::new(text("access_token")?),
            refresh_token: text("refresh_token").map(Secret::new),
            expires_at: json.expose().get("expires_at").and_then(Value::as_i64),
            obtained_at: json.expose().get("obtained_at").and_then(Value::as_i64).unwrap_or_default(),
            scope: text("scope"),
            token_type: text("token_type").unwrap_or_else(|| "Bearer".to_owned()),
            issuer: text("issuer"),
            client_id: text("client_id"),
            extra: SecretJson::new(json.expose().get("extra").cloned().unwrap_or_else(|| json!({}))),
        })
    }

    /// What `${token.<path>}` stands for.
    pub(crate) fn member(&self, path: &str) -> Option<Value> {
        let text = |text: &str| Some(Value::String(text.to_owned()));
        match path {
            "access_token" => text(self.access_token.expose()),
            "refresh_token" => text(self.refresh_token.as_ref()?.expose()),
            "token_type" => text(&self.token_type),
            "scope" => text(self.scope.as_deref()?),
            "expires_at" => OffsetDateTime::from_unix_timestamp(self.expires_at?.div_euclid(MICROS))
                .ok()
                .and_then(|at| at.format(&Rfc3339).ok())
                .map(Value::String),
            path => self.extra.at(path).cloned(),
        }
    }

    /// Whether it is time for the next one: `pre_refresh` seconds ahead, but never before half of its life. Without a
    /// way to get the next one it is used until it ends.
    pub(crate) fn is_expiring(&self, now: i64, pre_refresh: u32, renewable: bool) -> bool {
        let Some(end) = self.expires_at else { return false };
        let life = end.saturating_sub(self.obtained_at).max(0);
        let ahead = if renewable { (i64::from(pre_refresh) * MICROS).min(life / 2) } else { 0 };
        end.saturating_sub(ahead) <= now
    }

    /// Every secret text in it, for fingerprints.
    pub(crate) fn secret_values(&self) -> Vec<&str> {
        let mut found = vec![self.access_token.expose()];
        found.extend(self.refresh_token.as_ref().map(Secret::expose));
        found
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// The error that an answer of a token endpoint names, as OAuth spells it; anything else in its place is none.
pub(crate) fn oauth_error(body: &[u8]) -> Option<String> {
    let answer = SecretJson::parse(body)?;
    let code = answer.expose().get("error")?.as_str()?;
    let fits = (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    fits.then(|| code.to_owned())
}

/// When a token ends, microseconds since 1970: what is said absolutely counts for more than what is said relatively.
/// Nothing ends before now or after ten years.
fn expiry(expires_at: Option<&Value>, expires_in: Option<&Value>, now: i64) -> Option<i64> {
    let latest = now.saturating_add(MAX_LIFETIME * MICROS);
    let absolute = expires_at.and_then(|value| match value {
        Value::String(text) => number(text).map(seconds).or_else(|| instant(text)),
        value => value.as_f64().map(seconds),
    });
    let relative = || {
        let given = expires_in.and_then(|value| match value {
            Value::String(text) => number(text),
            value => value.as_f64(),
        });
        given.map(|given| now.saturating_add(seconds(given)))
    };
    absolute.or_else(relative).map(|at| at.clamp(now.min(latest), latest))
}

fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte));
    if plain { text.parse().ok() } else { None }
}

/// Casting saturates: what is absurd becomes the largest number.
fn seconds(given: f64) -> i64 {
    (given.floor() as i64).saturating_mul(MICROS)
}

/// An instant of ISO 8601; without an offset it is in UTC.
fn instant(text: &str) -> Option<i64> {
    let text = text.trim();
    let (date, clock) = text.split_once(['T', 't', ' ']).unwrap_or((text, "00:00:00"));
    let at = clock.find(['Z', 'z', '+', '-']).unwrap_or(clock.len());
    let (clock, offset) = clock.split_at_checked(at)?;
    let clock = if clock.len() == 5 { format!("{clock}:00") } else { clock.to_owned() };
    let offset = match offset.trim() {
        "" | "Z" | "z" => "Z".to_owned(),
        short if short.len() == 3 => format!("{short}:00"),
        joined if joined.len() == 5 => format!("{}:{}", joined.get(..3)?, joined.get(3..)?),
        whole => whole.to_owned(),
    };
    let parsed = OffsetDateTime::parse(&format!("{date}T{}{offset}", clock.trim()), &Rfc3339).ok()?;
    i64::try_from(parsed.unix_timestamp_nanos() / 1000).ok()
}
