//! A browser: cookies, and forms sent as the page has them.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use url::form_urlencoded::Serializer;

use super::super::house::{House, Reply};

pub(super) const ORIGIN: &str = "http://127.0.0.1:5010";

pub(super) struct Browser<'a> {
    pub(super) house: &'a House,
    pub(super) cookies: BTreeMap<String, String>,
    /// Of the form that was shown last.
    pub(super) csrf: String,
}

impl<'a> Browser<'a> {
    pub(super) fn new(house: &'a House) -> Self {
        Self { house, cookies: BTreeMap::new(), csrf: String::new() }
    }

    /// The same browser, copied by a thief or opened again.
    pub(super) fn copy(&self) -> Self {
        Self { house: self.house, cookies: self.cookies.clone(), csrf: self.csrf.clone() }
    }

    pub(super) async fn get(&mut self, path: &str) -> Reply {
        self.send("GET", path, "", |_| ()).await
    }

    /// Sends fields with the token of the form that was shown last, as a page of ours does.
    pub(super) async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let csrf = self.csrf.clone();
        let body = form(fields.iter().copied().chain([("csrf", csrf.as_str())]));
        self.send("POST", path, &body, own).await
    }

    pub(super) async fn send(
        &mut self,
        method: &str,
        path: &str,
        body: &str,
        change: impl FnOnce(&mut HeaderMap),
    ) -> Reply {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let reply = self
            .house
            .send(method, path, body, |headers| {
                if !cookies.is_empty() {
                    headers.insert("cookie", cookies.join("; ").parse().unwrap());
                }
                if !body.is_empty() {
                    headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
                }
                change(headers);
            })
            .await;
        for line in reply.headers.get_all("set-cookie") {
            let (name, rest) = line.to_str().unwrap().split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            match value {
                "" => self.cookies.remove(name),
                value => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        if let Some((_, rest)) = reply.text.split_once("name=\"csrf\" value=\"") {
            self.csrf = rest.split('"').next().unwrap().to_owned();
        }
        reply
    }

    /// Whether somebody is signed in here.
    pub(super) async fn is_signed_in(&mut self) -> bool {
        self.get("/account").await.status == 200
    }

    pub(super) fn session(&self) -> Option<&String> {
        self.cookies.get("gatehouse")
    }
}

/// What a browser says of a form of our own page.
pub(super) fn own(headers: &mut HeaderMap) {
    headers.insert("origin", ORIGIN.parse().unwrap());
    headers.insert("sec-fetch-site", "same-origin".parse().unwrap());
}

pub(super) fn form<'f>(fields: impl IntoIterator<Item = (&'f str, &'f str)>) -> String {
    Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// The code of a refusal, as its page has it.
pub(super) fn code(reply: &Reply) -> &str {
    reply.text.split_once("data-code=\"").map_or("", |(_, rest)| rest.split('"').next().unwrap())
}
