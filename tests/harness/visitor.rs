//! A browser without a screen or scripts, for pages of forms: cookies, redirects, fields, buttons.

use std::collections::BTreeMap;

use http::header::{CONTENT_TYPE, LOCATION, SET_COOKIE};
use url::Url;

use crate::{Admin, Answer, Http};

/// Somebody who walks through pages.
#[derive(Default)]
pub struct Visitor {
    http: Http,
    /// By host and port, as everything here is on one machine.
    cookies: BTreeMap<String, BTreeMap<String, String>>,
    walked: Vec<String>,
}

/// A page that was shown in the end.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its address.
    pub url: Url,
    /// What came.
    pub answer: Answer,
}

/// A form of a page.
#[derive(Debug, Clone, Default)]
struct Form {
    action: String,
    get: bool,
    fields: Vec<(String, String)>,
    buttons: Vec<(String, Option<(String, String)>)>,
}

const MOST_REDIRECTS: usize = 20;

impl Visitor {
    /// A user who signs in to the console by a one-time link, sets a password, and stays signed in.
    pub async fn signed_in(admin: &Admin, login: &str) -> Self {
        let made = admin.post(&format!("/api/v1/users/{login}/sign-in-link"), &serde_json::Value::Null).await;
        let made = made.expect(201).json();
        Self::by_link(made["url"].as_str().unwrap_or_else(|| panic!("no url in {made}"))).await
    }

    /// Takes a one-time link.
    pub async fn by_link(link: &str) -> Self {
        let mut visitor = Self::default();
        let page = visitor.goto(link).await;
        let password = "a horse, a staple & a battery";
        let button = "Set the password and sign in";
        let shown = visitor.submit(&page, button, &[("password", password), ("again", password)]).await;
        assert!(shown.url.path().ends_with("/account"), "{} {}", shown.url, shown.answer.text());
        visitor
    }

    /// The addresses that it was at since the beginning, redirects too.
    pub fn walked(&self) -> &[String] {
        &self.walked
    }

    /// The cookies of a host, e.g. `127.0.0.1:5010`.
    pub fn cookies(&self, host: &str) -> BTreeMap<String, String> {
        self.cookies.get(host).cloned().unwrap_or_default()
    }

    /// Opens an address and follows wherever it leads.
    pub async fn goto(&mut self, url: &str) -> Shown {
        let url = Url::parse(url).unwrap_or_else(|_| panic!("no URL: {url}"));
        self.walk("GET", url, String::new(), None).await
    }

    /// Opens an address, follows while it leads elsewhere, and stops before an address that begins like this.
    pub async fn goto_until(&mut self, url: &str, stop: &str) -> Result<Url, Box<Shown>> {
        let url = Url::parse(url).unwrap_or_else(|_| panic!("no URL: {url}"));
        self.walk_until("GET", url, String::new(), None, Some(stop)).await
    }

    /// Presses the button with that text on a page, with these fields filled in, and follows wherever it leads.
    pub async fn submit(&mut self, page: &Shown, button: &str, fill: &[(&str, &str)]) -> Shown {
        match self.submit_to(page, button, fill, None).await {
            Err(shown) => *shown,
            Ok(url) => panic!("it stopped before {url}"),
        }
    }

    /// Presses the first button of a page that is not for signing out, and follows wherever it leads.
    pub async fn lead_on(&mut self, page: &Shown) -> Shown {
        let html = page.answer.text();
        let buttons = forms(&html).into_iter().filter(|form| !form.get && !form.action.ends_with("/signout"));
        let button = buttons.flat_map(|form| form.buttons).next().unwrap_or_else(|| panic!("no button: {html}")).0;
        self.submit(page, &button, &[]).await
    }

    /// The same as [`submit`](Self::submit), and stops before an address that begins like this.
    pub async fn submit_until(
        &mut self,
        page: &Shown,
        button: &str,
        fill: &[(&str, &str)],
        stop: &str,
    ) -> Result<Url, Box<Shown>> {
        self.submit_to(page, button, fill, Some(stop)).await
    }

    async fn submit_to(
        &mut self,
        page: &Shown,
        button: &str,
        fill: &[(&str, &str)],
        stop: Option<&str>,
    ) -> Result<Url, Box<Shown>> {
        let html = page.answer.text();
        let forms = forms(&html);
        let of = |form: &&Form| form.buttons.iter().any(|(text, _)| text == button);
        let form = forms.iter().find(of).unwrap_or_else(|| panic!("no button {button:?} on {}:\n{html}", page.url));
        let mut fields = form.fields.clone();
        for (name, value) in fill {
            fields.retain(|(known, _)| known != name);
            fields.push(((*name).to_owned(), (*value).to_owned()));
        }
        fields.extend(form.buttons.iter().find(|(text, _)| text == button).and_then(|(_, pair)| pair.clone()));
        let body: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut url = page.url.join(&form.action).expect("an action that is a URL");
        let from = page.url.origin().ascii_serialization();
        if form.get {
            url.set_query(Some(&body));
            return self.walk_until("GET", url, String::new(), None, stop).await;
        }
        self.walk_until("POST", url, body, Some(from), stop).await
    }

    /// One request without following.
    pub async fn send(&mut self, method: &str, url: &Url, body: String, origin: Option<&str>) -> Answer {
        let host = url.authority().to_owned();
        let jar = self.cookies.entry(host.clone()).or_default();
        let cookies: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut headers = vec![("accept", "text/html")];
        if !cookies.is_empty() {
            headers.push(("cookie", &cookies));
        }
        if method == "POST" {
            headers.push((CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded"));
        }
        if let Some(origin) = origin {
            headers.push(("origin", origin));
            headers.push(("sec-fetch-site", "same-origin"));
        }
        self.walked.push(url.to_string());
        let answer =
            self.http.send(method, url.as_str(), &headers, body).await.unwrap_or_else(|error| panic!("{error}"));
        let jar = self.cookies.entry(host).or_default();
        for line in answer.headers.get_all(SET_COOKIE) {
            let line = line.to_str().expect("text");
            let Some((name, value)) = line.split(';').next().and_then(|pair| pair.split_once('=')) else { continue };
            if line.to_ascii_lowercase().contains("max-age=0") || value.is_empty() {
                jar.remove(name.trim());
            } else {
                jar.insert(name.trim().to_owned(), value.trim().to_owned());
            }
        }
        answer
    }

    async fn walk(&mut self, method: &str, url: Url, body: String, origin: Option<String>) -> Shown {
        match self.walk_until(method, url, body, origin, None).await {
            Err(shown) => *shown,
            Ok(url) => panic!("it stopped before {url}"),
        }
    }

    async fn walk_until(
        &mut self,
        method: &str,
        mut url: Url,
        body: String,
        origin: Option<String>,
        stop: Option<&str>,
    ) -> Result<Url, Box<Shown>> {
        let mut answer = self.send(method, &url, body, origin.as_deref()).await;
        for _ in 0..MOST_REDIRECTS {
            let refresh = answer.header("refresh").split_once("url=").map(|(_, to)| to.trim_matches('"').to_owned());
            let to = answer.headers.get(LOCATION).and_then(|to| to.to_str().ok()).map(str::to_owned).or(refresh);
            let Some(to) = to.or_else(|| leads_on(&answer)) else {
                return Err(Box::new(Shown { url, answer }));
            };
            url = url.join(&to).expect("a redirect to a URL");
            if stop.is_some_and(|stop| url.as_str().starts_with(stop)) {
                return Ok(url);
            }
            answer = self.send("GET", &url, String::new(), None).await;
        }
        panic!("redirected without end: {:?}", self.walked)
    }
}

/// Where a page leads that goes on by itself, as its link says.
fn leads_on(answer: &Answer) -> Option<String> {
    let html = answer.text();
    let tag = html.split('<').find(|tag| tag.starts_with("a ") && attribute(tag, "id").as_deref() == Some("on"))?;
    attribute(tag, "href")
}

fn forms(html: &str) -> Vec<Form> {
    let mut forms = Vec::new();
    for part in html.split("<form").skip(1) {
        let inside = part.split("</form>").next().unwrap_or_default();
        let mut form = Form {
            action: attribute(inside, "action").unwrap_or_default(),
            get: attribute(inside, "method").is_none_or(|method| method.eq_ignore_ascii_case("get")),
            ..Form::default()
        };
        for tag in inside.split('<').skip(1) {
            if tag.starts_with("input") {
                let chosen =
                    !matches!(attribute(tag, "type").as_deref(), Some("radio" | "checkbox")) || tag.contains("checked");
                if let (Some(name), true) = (attribute(tag, "name"), chosen) {
                    form.fields.push((name, attribute(tag, "value").unwrap_or_default()));
                }
            } else if tag.starts_with("button") {
                let text = tag.split_once('>').map_or("", |(_, text)| text).trim().to_owned();
                let pair = attribute(tag, "name").map(|name| (name, attribute(tag, "value").unwrap_or_default()));
                form.buttons.push((plain(&text), pair));
            }
        }
        forms.push(form);
    }
    forms
}

/// An attribute of the tag that the text begins with.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let tag = tag.split('>').next()?;
    let at = tag.find(&format!(" {name}=\""))? + name.len() + 3;
    Some(plain(tag[at..].split('"').next()?))
}

fn plain(text: &str) -> String {
    let mut text = text.to_owned();
    for (coded, plain) in [
        ("&#38;", "&"),
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&amp;", "&"),
    ] {
        text = text.replace(coded, plain);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{forms, plain};

    #[test]
    fn the_fields_and_buttons_of_a_form_are_found() {
        let html = "<form method=\"post\" action=\"/x?a=1&#38;b=2\"><input type=\"hidden\" name=\"csrf\" value=\"q&#34;\">\
            <button name=\"decision\" value=\"allow\">Allow</button><button>No</button></form><form><button>Other</button></form>";
        let forms = forms(html);
        assert_eq!(forms.len(), 2);
        assert_eq!((forms[0].action.as_str(), forms[0].get), ("/x?a=1&b=2", false));
        assert_eq!(forms[0].fields, [("csrf".to_owned(), "q\"".to_owned())]);
        assert_eq!(forms[0].buttons[0], ("Allow".to_owned(), Some(("decision".to_owned(), "allow".to_owned()))));
        assert_eq!((forms[0].buttons[1].0.as_str(), &forms[0].buttons[1].1, forms[1].get), ("No", &None, true));
        assert_eq!(plain("&amp;lt;"), "&lt;");
    }
}
