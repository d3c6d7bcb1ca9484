//! What a client asks for at the token endpoint, as far as it can be judged without looking anything up.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use model::TenantName;

use crate::authorization::parameters::Parameters;
use crate::authorization::refusal::{Reason, Refusal};
use crate::authorization::request::{MAX_CLIENT, resource, scope};
use crate::authorization::resource::Resource;

/// A request for tokens.
pub(crate) struct Exchange {
    /// Who asks. Nothing proves it but what comes with it: clients here have no secret.
    pub(crate) client: String,
    /// What the token is wanted for, if that is said again (RFC 8707, 2.2).
    pub(crate) resource: Option<Resource>,
    pub(crate) with: With,
}

/// What is given for tokens.
pub(crate) enum With {
    /// What the browser brought back.
    Code { code: String, redirect_uri: String, verifier: String },
    /// What came with the last token.
    Refresh { token: String },
}

impl Exchange {
    pub(crate) fn parse(parameters: &Parameters, headers: &HeaderMap, tenant: &TenantName) -> Result<Self, Refusal> {
        let client = public_client(parameters, headers)?;
        let with = match parameters.need("grant_type")? {
            "authorization_code" => With::Code {
                code: parameters.need("code")?.to_owned(),
                redirect_uri: parameters.need("redirect_uri")?.to_owned(),
                verifier: parameters.need("code_verifier")?.to_owned(),
            },
            "refresh_token" => With::Refresh { token: parameters.need("refresh_token")?.to_owned() },
            _ => {
                let why = "must be authorization_code or refresh_token";
                return Err(Refusal::new(Reason::UnsupportedGrantType, why).about("grant_type"));
            }
        };
        scope(parameters.get("scope"))?;
        Ok(Self { client, resource: resource(parameters.get("resource"), tenant)?, with })
    }
}

/// The id of the client that asks. One that shows a secret believes that it has one, and is told otherwise.
pub(crate) fn public_client(parameters: &Parameters, headers: &HeaderMap) -> Result<String, Refusal> {
    let secret = ["client_secret", "client_assertion", "client_assertion_type"]
        .iter()
        .any(|name| parameters.get(name).is_some());
    if secret || headers.contains_key(AUTHORIZATION) {
        return Err(Refusal::new(Reason::InvalidClient, "clients have no secret here: send client_id alone"));
    }
    let id = parameters.need("client_id")?;
    if id.len() > MAX_CLIENT {
        return Err(Refusal::new(Reason::InvalidRequest, "a parameter is too long").about("client_id"));
    }
    Ok(id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str =
        "grant_type=authorization_code&code=c&redirect_uri=http://127.0.0.1/cb&code_verifier=v&client_id=i";
    const REFRESH: &str = "grant_type=refresh_token&refresh_token=r&client_id=i";

    fn told(text: &str, authorization: Option<&str>) -> Result<(), Reason> {
        let mut headers = HeaderMap::new();
        authorization.map(|value| headers.insert(AUTHORIZATION, value.parse().unwrap()));
        let read = Parameters::parse(text.as_bytes());
        let read = read.and_then(|read| Exchange::parse(&read, &headers, &"default".parse().unwrap()));
        read.map(|_| ()).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn both_grants_are_understood() {
        for text in [
            CODE.to_owned(),
            REFRESH.to_owned(),
            format!("{CODE}&resource=http://localhost:5011/mcp"),
            format!("{REFRESH}&resource=http://localhost:5011/mcp&scope=mcp"),
            format!("{CODE}&client_secret="),
        ] {
            assert_eq!(told(&text, None), Ok(()), "{text}");
        }
    }

    #[test]
    fn each_mistake_has_its_word() {
        use Reason::{InvalidClient, InvalidRequest, InvalidScope, InvalidTarget, UnsupportedGrantType};
        for (text, reason) in [
            (String::new(), InvalidRequest),
            (CODE.replace("&code=c", ""), InvalidRequest),
            (CODE.replace("&redirect_uri=http://127.0.0.1/cb", ""), InvalidRequest),
            (CODE.replace("&code_verifier=v", ""), InvalidRequest),
            (CODE.replace("&code_verifier=v", "&code_verifier="), InvalidRequest),
            (CODE.replace("&client_id=i", ""), InvalidRequest),
            (REFRESH.replace("&refresh_token=r", ""), InvalidRequest),
            (format!("{CODE}&code=d"), InvalidRequest),
            (format!("{REFRESH}&client_id=j"), InvalidRequest),
            (REFRESH.replace("refresh_token&", "password&"), UnsupportedGrantType),
            (REFRESH.replace("refresh_token&", "client_credentials&"), UnsupportedGrantType),
            (REFRESH.replace("client_id=i", &format!("client_id={}", "i".repeat(MAX_CLIENT + 1))), InvalidRequest),
            (format!("{CODE}&client_secret=s"), InvalidClient),
            (format!("{CODE}&client_assertion=s"), InvalidClient),
            (format!("{CODE}&resource=http://localhost:5011/t/other/mcp"), InvalidTarget),
            (format!("{REFRESH}&scope=admin"), InvalidScope),
        ] {
            assert_eq!(told(&text, None), Err(reason), "{text}");
        }
        assert_eq!(told(CODE, Some("Basic aTo=")), Err(InvalidClient));
    }
}
