//! The two cookies: of a session, and of a browser that has not signed in yet.

use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;

use super::session::LONGEST;
use super::site::Site;
use super::token::Token;

/// Which cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// Of somebody who is signed in.
    Session,
    /// Of a browser: its forms before a sign-in, and its round trips to issuers, are bound to it. It opens nothing.
    Visit,
}

impl Cookie {
    /// `__Host-`: the browser takes it from this very host over https only. Plain http on loopback can't have it.
    fn name(self, site: &Site) -> &'static str {
        match (self, site.is_secure()) {
            (Self::Session, true) => "__Host-gatehouse",
            (Self::Session, false) => "gatehouse",
            (Self::Visit, true) => "__Host-gatehouse-visit",
            (Self::Visit, false) => "gatehouse-visit",
        }
    }

    /// What the browser sent. One that stands twice was put there by somebody else: neither counts.
    pub(crate) fn read(self, site: &Site, headers: &HeaderMap) -> Option<Token> {
        let name = self.name(site);
        let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut values = pairs.filter(|(other, _)| *other == name).map(|(_, value)| value);
        let value = values.next()?;
        if values.next().is_some() { None } else { Token::parse(value) }
    }

    /// Gives it to the browser.
    pub(crate) fn give(self, site: &Site, token: &Token, response: &mut Response) {
        let age = match self {
            Self::Session => format!("; Max-Age={}", LONGEST.as_secs()),
            // Ends with the browser.
            Self::Visit => String::new(),
        };
        self.put(site, &format!("{}{age}", token.text().expose()), response);
    }

    /// Takes it back.
    pub(crate) fn take(self, site: &Site, response: &mut Response) {
        self.put(site, "; Max-Age=0", response);
    }

    /// `Lax` and not `Strict`: people come back from an issuer, and with an authorization request, from elsewhere.
    fn put(self, site: &Site, value: &str, response: &mut Response) {
        let secure = if site.is_secure() { "; Secure" } else { "" };
        let line = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}", self.name(site));
        if let Ok(mut line) = HeaderValue::from_str(&line) {
            line.set_sensitive(true);
            response.headers_mut().append(SET_COOKIE, line);
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Uri;
    use axum::http::header::HOST;
    use axum::response::IntoResponse as _;

    use super::*;
    use crate::Config;

    fn site(public: bool) -> Site {
        let public = if public { "public_url = \"https://gate.example\"\n" } else { "" };
        let least = "database = \"sqlite:///x.db\"\nkek_file = \"kek\"\npki_dir = \"pki\"\n";
        let config = Config::parse(&format!("{least}{public}")).unwrap();
        let mut headers = HeaderMap::new();
        let host = if public.is_empty() { "127.0.0.1:5010" } else { "gate.example" };
        headers.insert(HOST, host.parse().unwrap());
        Site::of(&config, &Uri::from_static("/"), &headers)
    }

    fn sent(line: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, line.parse().unwrap());
        headers
    }

    #[test]
    fn flags_are_those_that_the_browser_holds_us_to() {
        let token = Token::fresh().unwrap();
        for (public, name, flags) in [
            (true, "__Host-gatehouse", "Max-Age=43200; Path=/; HttpOnly; SameSite=Lax; Secure"),
            (false, "gatehouse", "Max-Age=43200; Path=/; HttpOnly; SameSite=Lax"),
        ] {
            let mut response = "".into_response();
            Cookie::Session.give(&site(public), &token, &mut response);
            let line = response.headers()[SET_COOKIE].to_str().unwrap();
            assert_eq!(line, format!("{name}={}; {flags}", token.text().expose()));
            assert!(!line.contains("Domain"));
        }
        let mut response = "".into_response();
        Cookie::Visit.take(&site(true), &mut response);
        let line = response.headers()[SET_COOKIE].to_str().unwrap();
        assert_eq!(line, "__Host-gatehouse-visit=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Secure");
    }

    #[test]
    fn a_cookie_is_read_under_its_whole_name_and_once() {
        let (one, two) = (Token::fresh().unwrap(), Token::fresh().unwrap());
        let (one, two) = (one.text(), two.text());
        let (one, two) = (one.expose(), two.expose());
        for (public, line, found) in [
            (true, format!("a=b; __Host-gatehouse={one}; c=d"), true),
            (true, format!("gatehouse={one}"), false),
            (false, format!("gatehouse={one}"), true),
            (false, format!("gatehouse-visit={one}"), false),
            (false, format!("gatehouse={one}; gatehouse={two}"), false),
            (false, "gatehouse=short".to_owned(), false),
        ] {
            assert_eq!(Cookie::Session.read(&site(public), &sent(&line)).is_some(), found, "{line}");
        }
    }
}
