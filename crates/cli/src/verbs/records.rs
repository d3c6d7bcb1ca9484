//! What can be done with every kind of record, in one way.

use serde_json::{Value, json};

use super::effects::effects;
use crate::api::Api;
use crate::failure::Failure;
use crate::screen::{self, Screen, cell};

/// A kind of record: the path of its list, and the member by which people name one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Records {
    pub(super) path: &'static str,
    pub(super) name: &'static str,
}

impl Records {
    /// Creates one.
    pub(super) async fn create(self, api: &Api, body: &Value, screen: Screen) -> Result<(), Failure> {
        let created = api.post(&[self.path], body).await?.body;
        screen.show(&created, |created| format!("{} created{}", cell(created, self.name), effects(created)))
    }

    /// Shows one, member by member.
    pub(super) async fn show(self, api: &Api, name: &str, screen: Screen) -> Result<(), Failure> {
        screen.show(&api.get(&[self.path, name]).await?.body, screen::members)
    }

    /// Changes one as it was read.
    pub(super) async fn set(self, api: &Api, name: &str, body: &Value, screen: Screen) -> Result<(), Failure> {
        let changed = api.change(&[self.path, name], body).await?;
        screen.show(&changed, |changed| format!("{} changed{}", cell(changed, self.name), effects(changed)))
    }

    /// Enables, disables or restores one.
    pub(super) async fn act(
        self,
        api: &Api,
        name: &str,
        action: &str,
        done: &str,
        screen: Screen,
    ) -> Result<(), Failure> {
        let answer = api.post(&[self.path, name, action], &json!({})).await?.body;
        screen.show(&answer, |answer| {
            let known = Some(cell(answer, self.name)).filter(|known| !known.is_empty());
            format!("{} {done}{}{}", known.as_deref().unwrap_or(name), effects(answer), to_enter_again(answer))
        })
    }

    /// Removes each as it was read.
    pub(super) async fn remove(self, api: &Api, names: &[String], screen: Screen) -> Result<(), Failure> {
        each(names, "removed", screen, async |name| api.remove(&[self.path, name]).await).await
    }
}

/// What a restored record lost and somebody must enter again.
fn to_enter_again(answer: &Value) -> String {
    match screen::names(answer, "enter_again") {
        lost if lost.is_empty() => String::new(),
        lost => screen::plain(&format!(", without {lost}: enter that again")),
    }
}

/// Does it for each name; the first that fails ends it, after what was done has been told.
pub(super) async fn each(
    names: &[String],
    done: &str,
    screen: Screen,
    work: impl AsyncFn(&str) -> Result<Value, Failure>,
) -> Result<(), Failure> {
    let mut items = Vec::new();
    let mut outcome = Ok(());
    for name in names {
        match work(name).await {
            Ok(answer) if screen == Screen::Text => {
                screen::line(&format!("{} {done}{}", screen::plain(name), effects(&answer)))?;
            }
            Ok(Value::Null) => items.push(json!({ done: name })),
            Ok(answer) => items.push(answer),
            Err(failure) => {
                outcome = Err(failure);
                break;
            }
        }
    }
    if screen == Screen::Json {
        screen::line(&json!({ "items": items }).to_string())?;
    }
    outcome
}

/// The items of a list.
pub(super) fn items(document: &Value) -> impl Iterator<Item = &Value> {
    document.get("items").and_then(Value::as_array).into_iter().flatten()
}

/// The query of a list, from what was typed.
pub(super) fn query<'a>(said: &[(&'a str, Option<&'a str>)], flags: &[(&'a str, bool)]) -> Vec<(&'a str, &'a str)> {
    let texts = said.iter().filter_map(|(name, value)| value.map(|value| (*name, value)));
    texts.chain(flags.iter().filter(|(_, said)| *said).map(|(name, _)| (*name, "true"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_restore_could_not_bring_back_is_told() {
        assert_eq!(to_enter_again(&json!({"enter_again": ["departments"]})), ", without departments: enter that again");
        assert_eq!(to_enter_again(&json!({"enter_again": []})), "");
        assert_eq!(to_enter_again(&json!({})), "");
    }

    #[test]
    fn a_query_holds_what_was_typed() {
        let query = query(&[("search", Some("a")), ("tag", None)], &[("deleted", true), ("enabled", false)]);
        assert_eq!(query, [("search", "a"), ("deleted", "true")]);
    }
}
