//! Fresh envelopes around raw bytes.

use bytes::Bytes;

use crate::span::Span;

/// Appends `text` as a JSON string.
pub fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for ch in text.chars() {
        match ch {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            ch if u32::from(ch) < 0x20 => out.extend_from_slice(format!("\\u{:04x}", u32::from(ch)).as_bytes()),
            ch => out.extend_from_slice(ch.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

/// A piece of raw JSON to put in the place of another; patches must come in the order of their places.
pub struct Patch<'a> {
    /// What is replaced.
    pub span: Span,
    /// What stands there instead.
    pub with: &'a [u8],
}

/// A request with a minted id around the raw params of `message`, patched.
pub fn request(id: &str, method: &str, message: &[u8], params: Option<Span>, patches: &[Patch<'_>]) -> Bytes {
    let mut out = Vec::with_capacity(message.len() + 96);
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(br#","method":""#);
    finish(&mut out, method, message, params, patches);
    Bytes::from(out)
}

/// A notification around the raw params of `message`, patched.
pub fn notification(method: &str, message: &[u8], params: Option<Span>, patches: &[Patch<'_>]) -> Bytes {
    let mut out = Vec::with_capacity(message.len() + 64);
    out.extend_from_slice(br#"{"jsonrpc":"2.0","method":""#);
    finish(&mut out, method, message, params, patches);
    Bytes::from(out)
}

fn finish(out: &mut Vec<u8>, method: &str, message: &[u8], params: Option<Span>, patches: &[Patch<'_>]) {
    out.extend_from_slice(method.as_bytes());
    out.push(b'"');
    if let Some(params) = params {
        out.extend_from_slice(br#","params":"#);
        patched(out, message, params, patches);
    }
    out.push(b'}');
}

/// Appends `place` of `message` with the patches applied.
pub fn patched(out: &mut Vec<u8>, message: &[u8], place: Span, patches: &[Patch<'_>]) {
    let mut at = place.start();
    for patch in patches {
        out.extend_from_slice(message.get(at..patch.span.start()).unwrap_or_default());
        out.extend_from_slice(patch.with);
        at = patch.span.end();
    }
    out.extend_from_slice(message.get(at..place.end()).unwrap_or_default());
}

/// A result for the client's `id` around a raw result.
pub fn result(id: &[u8], result: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(id.len() + result.len() + 40);
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id);
    out.extend_from_slice(br#","result":"#);
    out.extend_from_slice(result);
    out.push(b'}');
    Bytes::from(out)
}

/// An error for the client's `id` around a raw error object.
pub fn raw_error(id: &[u8], error: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(id.len() + error.len() + 40);
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id);
    out.extend_from_slice(br#","error":"#);
    out.extend_from_slice(error);
    out.push(b'}');
    Bytes::from(out)
}

/// An error for the client's `id` (`null` when it has none); `data` is raw JSON.
pub fn error(id: Option<&[u8]>, code: i32, message: &str, data: Option<&[u8]>) -> Bytes {
    let mut out = Vec::with_capacity(192);
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id.unwrap_or(b"null"));
    out.extend_from_slice(br#","error":{"code":"#);
    out.extend_from_slice(code.to_string().as_bytes());
    out.extend_from_slice(br#","message":"#);
    string(&mut out, message);
    if let Some(data) = data {
        out.extend_from_slice(br#","data":"#);
        out.extend_from_slice(data);
    }
    out.extend_from_slice(b"}}");
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Envelope;

    #[test]
    fn a_request_goes_on_with_its_params_untouched_but_for_the_patches() {
        let message = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"s__a","arguments":{"x": [1]},"_meta":{"progressToken":"t"}}}"#;
        let params = Envelope::scan(message).unwrap().params.unwrap();
        let patches = [
            Patch { span: params.name.unwrap(), with: b"\"a\"" },
            Patch { span: params.progress_token.unwrap(), with: b"9" },
        ];
        let out = request("9", "tools/call", message, Some(params.all), &patches);
        assert_eq!(out.as_ref(), br#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"a","arguments":{"x": [1]},"_meta":{"progressToken":9}}}"#);
    }

    #[test]
    fn strings_are_escaped() {
        let mut out = Vec::new();
        string(&mut out, "a\"\\\n\u{1}ü");
        assert_eq!(out, "\"a\\\"\\\\\\n\\u0001ü\"".as_bytes());
    }
}
