//! Redirect URIs: which ones a client may have, when one that is asked for is one of them, and what is
//! appended to them.

use url::Url;

use crate::authorization::scheme;
use crate::outward::is_loopback;

/// Bytes that one may have.
const MAX: usize = 2048;
/// Parameters of our answers: a redirect URI that has one already would have two.
const OURS: [&str; 6] = ["code", "state", "iss", "error", "error_description", "error_uri"];

/// Where the answer of an authorization may go. What a browser would run, and plain http to another machine,
/// can't be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RedirectUri {
    text: String,
    url: Url,
    kind: Kind,
}

/// Who listens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A program on the user's machine (RFC 8252, 7.3).
    Loopback,
    /// A site.
    Web,
    /// A program that owns a scheme such as `com.example.app` or `cursor` (RFC 8252, 7.1).
    Scheme,
}

/// Why a text is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RedirectError {
    #[error("must be an absolute URI of at most 2048 ASCII characters")]
    Shape,
    #[error("must not have a fragment, user name or password")]
    Parts,
    #[error("must not have parameters of an authorization answer")]
    Parameters,
    #[error("must use https, http on loopback, or the private scheme of an app such as com.example.app")]
    Scheme,
}

impl RedirectUri {
    /// Reads one.
    pub(crate) fn parse(text: &str) -> Result<Self, RedirectError> {
        // A parser drops or rewrites these: what is compared would not be what a browser opens.
        let odd =
            |byte: u8| !byte.is_ascii_graphic() || matches!(byte, b'\\' | b'"' | b'<' | b'>' | b'^' | b'`' | b'|');
        if text.is_empty() || text.len() > MAX || text.bytes().any(odd) {
            return Err(RedirectError::Shape);
        }
        let url = Url::parse(text).map_err(|_| RedirectError::Shape)?;
        let user = !url.username().is_empty() || url.password().is_some();
        // `@` before the path, even with nothing before it.
        let authority = text.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
        if text.contains('#') || user || authority.is_some_and(|authority| authority.contains('@')) {
            return Err(RedirectError::Parts);
        }
        if url.query_pairs().any(|(name, _)| OURS.contains(&&*name)) {
            return Err(RedirectError::Parameters);
        }
        let kind = match url.scheme() {
            "https" if url.has_host() => Kind::Web,
            "http" if is_loopback(&url) => Kind::Loopback,
            "http" | "https" => return Err(RedirectError::Scheme),
            scheme if scheme::is_private(scheme) => Kind::Scheme,
            _ => return Err(RedirectError::Scheme),
        };
        Ok(Self { text: text.to_owned(), url, kind })
    }

    /// Whether a client that has registered this one may ask for the other: the very same, except that a
    /// program on loopback takes whatever port is free.
    pub(crate) fn allows(&self, asked: &Self) -> bool {
        let portless = |uri: &Self| {
            let mut url = uri.url.clone();
            url.set_port(None).ok().map(|()| url)
        };
        match (self.kind, asked.kind) {
            (Kind::Loopback, Kind::Loopback) => portless(self).is_some_and(|own| portless(asked) == Some(own)),
            _ => self.text == asked.text,
        }
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// What a person should compare: the host, or the scheme where there is none. Always ASCII, so that no
    /// letter can look like another.
    pub(crate) fn place(&self) -> String {
        match (self.kind, self.url.host_str(), self.url.port()) {
            (Kind::Scheme, ..) | (_, None, _) => format!("{}:", self.url.scheme()),
            (_, Some(host), Some(port)) => format!("{host}:{port}"),
            (_, Some(host), None) => host.to_owned(),
        }
    }

    /// With the parameters of an answer.
    pub(crate) fn with(&self, parameters: &[(&str, &str)]) -> String {
        let mut url = self.url.clone();
        url.query_pairs_mut().extend_pairs(parameters);
        url.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_places_that_can_keep_a_code_are_redirect_uris() {
        use RedirectError::{Parameters, Parts, Scheme, Shape};
        for (text, expected) in [
            ("https://app.example/cb", Ok(Kind::Web)),
            ("https://app.example:8443/cb?x=1", Ok(Kind::Web)),
            ("https://10.0.0.1/cb", Ok(Kind::Web)),
            ("http://127.0.0.1:33418/cb", Ok(Kind::Loopback)),
            ("http://127.0.0.1/", Ok(Kind::Loopback)),
            ("http://localhost:3334/oauth/callback", Ok(Kind::Loopback)),
            ("http://[::1]:3000/cb", Ok(Kind::Loopback)),
            ("com.example.app:/oauth2", Ok(Kind::Scheme)),
            ("com.example.app://cb/x", Ok(Kind::Scheme)),
            ("http://app.example/cb", Err(Scheme)),
            ("http://localhost.evil.example/cb", Err(Scheme)),
            ("http://127.0.0.1.evil.example/cb", Err(Scheme)),
            ("http://0.0.0.0/cb", Err(Scheme)),
            ("http://[::ffff:127.0.0.1]/cb", Err(Scheme)),
            ("http://10.0.0.1/cb", Err(Scheme)),
            ("javascript:alert(1)", Err(Scheme)),
            ("JavaScript:alert(1)", Err(Scheme)),
            ("data:text/html,x", Err(Scheme)),
            ("file:///etc/passwd", Err(Scheme)),
            ("vbscript:x", Err(Scheme)),
            ("blob:https://app.example/x", Err(Scheme)),
            ("ftp://app.example/", Err(Scheme)),
            ("cursor://anysphere.cursor-mcp/oauth/callback", Ok(Kind::Scheme)),
            ("vscode://vscode.github-authentication/did-authenticate", Ok(Kind::Scheme)),
            ("app:/cb", Ok(Kind::Scheme)),
            ("c:/cb", Err(Scheme)),
            ("ws://127.0.0.1/cb", Err(Scheme)),
            ("ms-settings:privacy", Err(Scheme)),
            ("view-source:https://app.example/", Err(Scheme)),
            ("https://user@app.example/cb", Err(Parts)),
            ("https://@app.example/cb", Err(Parts)),
            ("https://good.example:x@evil.example/", Err(Parts)),
            ("https://app.example/cb#x", Err(Parts)),
            ("https://app.example/cb#", Err(Parts)),
            ("https://app.example/cb?code=1", Err(Parameters)),
            ("https://app.example/cb?st%61te=1", Err(Parameters)),
            ("https://app.example/cb?iss=x", Err(Parameters)),
            ("https://evil.example\\@good.example/", Err(Shape)),
            (" https://app.example/cb", Err(Shape)),
            ("https://app.example/c b", Err(Shape)),
            ("java\nscript:alert(1)", Err(Shape)),
            ("https://äpp.example/", Err(Shape)),
            ("//app.example/cb", Err(Shape)),
            ("/cb", Err(Shape)),
            ("https://", Err(Shape)),
            ("", Err(Shape)),
        ] {
            assert_eq!(RedirectUri::parse(text).map(|uri| uri.kind), expected, "{text}");
        }
        assert_eq!(RedirectUri::parse(&format!("https://a.example/{}", "x".repeat(MAX))), Err(Shape));
    }

    #[test]
    fn one_that_is_asked_for_must_be_the_registered_one() {
        for (registered, asked, fits) in [
            ("https://app.example/cb", "https://app.example/cb", true),
            ("https://app.example/cb", "https://app.example/cb/", false),
            ("https://app.example/cb", "https://app.example/cb?x=1", false),
            ("https://app.example/cb", "https://app.example/cb/../evil", false),
            ("https://app.example/cb", "https://app.example:443/cb", false),
            ("https://app.example/cb", "https://APP.example/cb", false),
            ("https://app.example/cb", "https://app.example.evil.example/cb", false),
            ("https://app.example/cb", "http://localhost/cb", false),
            ("https://localhost:1/cb", "https://localhost:2/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:4711/cb", true),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1:2/cb", true),
            ("http://localhost:1/cb", "http://localhost:2/cb", true),
            ("http://[::1]:1/cb", "http://[::1]:2/cb", true),
            ("http://localhost:1/cb", "http://127.0.0.1:1/cb", false),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1:1/cb/../x", false),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1:1/cb%2f..%2fx", false),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1:1/cb?x=1", false),
            ("http://127.0.0.1:1/cb", "http://127.0.0.2:1/cb", false),
            ("com.example.app:/cb", "com.example.app:/cb", true),
            ("com.example.app:/cb", "com.example.app:/other", false),
        ] {
            let (registered, asked) = (RedirectUri::parse(registered).unwrap(), RedirectUri::parse(asked).unwrap());
            assert_eq!(registered.allows(&asked), fits, "{registered:?} {asked:?}");
        }
    }

    #[test]
    fn an_answer_is_appended_and_escaped() {
        let uri = |text| RedirectUri::parse(text).unwrap();
        let answer = [("code", "a b&c"), ("state", "\"'<>#")];
        assert_eq!(
            uri("https://app.example/cb?x=1").with(&answer),
            "https://app.example/cb?x=1&code=a+b%26c&state=%22%27%3C%3E%23"
        );
        assert_eq!(uri("com.example.app:/cb").with(&[("code", "1")]), "com.example.app:/cb?code=1");
        assert_eq!(uri("http://127.0.0.1:1").with(&[("code", "1")]), "http://127.0.0.1:1/?code=1");
    }

    proptest::proptest! {
        /// Whatever is taken leads, with its answer, to the place that a person was shown, and runs nothing.
        #[test]
        fn an_answer_goes_where_the_redirect_uri_says(
            text in "(https?|com\\.app|cursor|javascript|data|HTTPS|file|ftp):/{0,3}[a-z0-9.@:\\[\\]\\\\#?&=%/ é-]{0,30}",
            state in ".{0,20}",
        ) {
            if let Ok(uri) = RedirectUri::parse(&text) {
                let answer = Url::parse(&uri.with(&[("code", "c"), ("state", &state)])).unwrap();
                let asked = Url::parse(&text).unwrap();
                assert_eq!((answer.scheme(), answer.host(), answer.port()), (asked.scheme(), asked.host(), asked.port()));
                assert_eq!(answer.path(), asked.path());
                let web = answer.scheme() == "https" || answer.scheme() == "http" && is_loopback(&answer);
                assert!(web || matches!(answer.scheme(), "com.app" | "cursor"), "{text}");
                assert!(answer.fragment().is_none() && answer.username().is_empty());
                let codes = answer.query_pairs().filter(|(name, _)| name == "code").count();
                let states: Vec<_> = answer.query_pairs().filter(|(name, _)| name == "state").collect();
                assert_eq!((codes, states.len(), &*states[0].1), (1, 1, state.as_str()));
            }
        }
    }

    #[test]
    fn a_person_is_shown_where_it_goes() {
        for (text, place) in [
            ("https://xn--pple-43d.example/cb", "xn--pple-43d.example"),
            ("https://app.example:8443/cb", "app.example:8443"),
            ("http://[::1]:3000/cb", "[::1]:3000"),
            ("com.example.app://evil.example/cb", "com.example.app:"),
        ] {
            assert_eq!(RedirectUri::parse(text).unwrap().place(), place);
        }
    }
}
