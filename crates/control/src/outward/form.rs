//! Forms with secrets in them, and a client's name and secret in a header (RFC 6749, 2.3.1): what goes to token endpoints.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

/// Bytes for which there is room at once: what grows leaves copies of itself behind.
const ROOM: usize = 4096;

/// A form that is wiped when it goes.
pub(crate) struct Form(Zeroizing<String>);

impl Form {
    /// With these fields.
    pub(crate) fn of(fields: &[(&str, &str)]) -> Self {
        let mut form = Self(Zeroizing::new(String::with_capacity(ROOM)));
        fields.iter().for_each(|(name, value)| form.put(name, value));
        form
    }

    /// Adds a field.
    pub(crate) fn put(&mut self, name: &str, value: &str) {
        let coded = Zeroizing::new(Serializer::new(String::new()).append_pair(name, value).finish());
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(&coded);
    }

    /// To be sent.
    pub(crate) fn bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.0.as_bytes())
    }

    /// As it is sent.
    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// `Authorization: Basic` of a client; both parts are written as forms have them first. `None` never happens to text in
/// base64.
pub(crate) fn basic(client: &str, secret: &str) -> Option<HeaderValue> {
    let coded = |text: &str| Zeroizing::new(byte_serialize(text.as_bytes()).collect::<String>());
    let pair = Zeroizing::new(format!("{}:{}", *coded(client), *coded(secret)));
    let line = Zeroizing::new(format!("Basic {}", *Zeroizing::new(STANDARD.encode(pair.as_bytes()))));
    let mut line = HeaderValue::from_str(&line).ok()?;
    line.set_sensitive(true);
    Some(line)
}
