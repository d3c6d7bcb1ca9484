//! What the authorization server says no with: the words of RFC 6749, 7009, 7591 and 8707.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use store::StoreError;

use crate::authorization::answer;

macro_rules! reasons {
    ($($status:literal $name:ident $word:literal;)*) => {
        /// The member `error`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Reason {
            $(#[doc = $word] $name,)*
        }

        impl Reason {
            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            fn status(self) -> StatusCode {
                let number: u16 = match self { $(Self::$name => $status,)* };
                StatusCode::from_u16(number).unwrap_or(StatusCode::BAD_REQUEST)
            }
        }
    };
}

reasons! {
    400 InvalidRequest "invalid_request";
    // Tells an SDK to forget its registration and to make another.
    401 InvalidClient "invalid_client";
    400 InvalidGrant "invalid_grant";
    400 InvalidScope "invalid_scope";
    400 InvalidTarget "invalid_target";
    400 InvalidRedirectUri "invalid_redirect_uri";
    400 InvalidClientMetadata "invalid_client_metadata";
    400 UnauthorizedClient "unauthorized_client";
    400 UnsupportedGrantType "unsupported_grant_type";
    400 UnsupportedResponseType "unsupported_response_type";
    400 UnsupportedTokenType "unsupported_token_type";
    403 AccessDenied "access_denied";
    429 SlowDown "temporarily_unavailable";
    503 TemporarilyUnavailable "temporarily_unavailable";
    500 ServerError "server_error";
}

/// Why a request is refused. Holds no text of the request, so that no secret and no markup comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    why: &'static str,
    about: Option<&'static str>,
    /// Set where another status than the reason's says more.
    status: Option<StatusCode>,
}

/// What nobody but we can have caused; the log says more.
pub(crate) const FAULT: Refusal = Refusal::new(Reason::ServerError, "a fault of this service");

impl Refusal {
    pub(crate) const fn new(reason: Reason, why: &'static str) -> Self {
        Self { reason, why, about: None, status: None }
    }

    /// Names the parameter.
    pub(crate) fn about(self, parameter: &'static str) -> Self {
        Self { about: Some(parameter), ..self }
    }

    /// With a status of its own.
    pub(crate) const fn with(self, status: StatusCode) -> Self {
        Self { status: Some(status), ..self }
    }

    /// The member `error_description`.
    pub(crate) fn description(&self) -> String {
        match self.about {
            Some(about) => format!("{}: {about}", self.why),
            None => self.why.to_owned(),
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status.unwrap_or_else(|| self.reason.status())
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Bound { .. } => {
                Self::new(Reason::TemporarilyUnavailable, "there are too many registered clients; try again later")
            }
            other => {
                tracing::error!(error = %telemetry::chain(&other), "the database failed or refused");
                match other {
                    StoreError::Unavailable(_) | StoreError::Interrupted | StoreError::Uncertain(_) => {
                        Self::new(Reason::TemporarilyUnavailable, "the database can't be used now")
                    }
                    _ => FAULT,
                }
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"error": self.reason.as_str(), "error_description": self.description()});
        let mut response = answer::json(self.status(), &body);
        let headers = response.headers_mut();
        match self.status() {
            StatusCode::TOO_MANY_REQUESTS => headers.insert(header::RETRY_AFTER, HeaderValue::from_static("60")),
            StatusCode::SERVICE_UNAVAILABLE => headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1")),
            // RFC 6749, 5.2: names the scheme that would do if there were clients with a secret.
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"gatehouse\""))
            }
            _ => None,
        };
        response
    }
}
