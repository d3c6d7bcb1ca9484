//! `gatehouse tools` and `gatehouse call`.

use std::io::Read;

use bytes::Bytes;
use model::ServerId;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::effects::effects;
use super::tokens;
use crate::access::Target;
use crate::api::{Answer, Api};
use crate::args::Call;
use crate::failure::Failure;
use crate::proxy::Proxied;
use crate::screen::{self, Screen, cell, table};

/// No arguments are longer: control takes no larger body.
const LARGEST_INPUT: u64 = 256 << 10;

/// Lists the tools of a server.
pub(super) async fn list(api: &Api, server: &str, screen: Screen) -> Result<(), Failure> {
    let answer = unless_disabled(api, server, api.get(&["servers", server, "tools"]).await).await?.body;
    screen.show(&answer, |answer| listed(server, answer))
}

/// Has the upstream asked anew, and lists what it offers now.
pub(super) async fn refresh(api: &Api, server: &str, screen: Screen) -> Result<(), Failure> {
    let asked = api.post(&["servers", server, "tools", "refresh"], &json!({})).await;
    let answer = unless_disabled(api, server, asked).await?.body;
    screen.show(&answer, |answer| listed(server, answer))
}

/// Offers or hides one tool.
pub(super) async fn switch(api: &Api, server: &str, tool: &str, on: bool, screen: Screen) -> Result<(), Failure> {
    let (action, done) = if on { ("enable", "offered") } else { ("disable", "hidden") };
    let answer = api.post(&["servers", server, "tools", tool, action], &json!({})).await?.body;
    // It may be hidden before it is there, but most often a name that nobody offers is a slip.
    let unknown = screen == Screen::Text && !on && !is_offered(api, server, tool).await;
    screen.show(&answer, |answer| {
        let note = if unknown {
            format!("\n  {server} offers no tool of this name now: `gatehouse tools {server}`")
        } else {
            String::new()
        };
        screen::plain(&format!("{tool} of {server} is {done}")) + &effects(answer) + &note
    })
}

/// Whether the server offered the tool when it was asked last; yes if that can't be known.
async fn is_offered(api: &Api, server: &str, tool: &str) -> bool {
    match api.get(&["servers", server, "tools"]).await {
        Ok(answer) => super::records::items(&answer.body).any(|offered| cell(offered, "name") == tool),
        Err(_) => true,
    }
}

fn listed(server: &str, answer: &Value) -> String {
    let tools = ["items", "tools"].into_iter().find_map(|member| answer.get(member)).unwrap_or(answer);
    let rows: Vec<_> = tools
        .as_array()
        .into_iter()
        .flatten()
        .map(|tool| [cell(tool, "name"), screen::state(tool, "enabled"), first_line(&cell(tool, "description"))])
        .collect();
    if rows.is_empty() { format!("{server} has no tools") } else { table(["TOOL", "STATE", "DESCRIPTION"], &rows) }
}

/// Calls a tool, as the key's holder or in the name of a user. A tool that reports an error makes the command fail.
pub(super) async fn call(target: &Target, call: &Call, screen: Screen) -> Result<(), Failure> {
    let arguments = arguments(&call.arguments, read_input)?;
    let api = Api::open(target)?;
    let (raw, body) = match &call.on_behalf.user {
        None => as_holder(&api, call, &arguments).await?,
        Some(user) => in_the_name_of(user, target, &api, call, &arguments).await?,
    };
    match screen {
        // As it came: numbers of any size and the order of members are the tool's own.
        Screen::Json => screen::line(&String::from_utf8_lossy(&raw).replace(['\n', '\r'], ""))?,
        Screen::Text => match told(&body) {
            // Nothing but the reason below.
            told if told.is_empty() && refusal(&body).is_some() => (),
            told => screen::line(&told)?,
        },
    }
    match refusal(&body) {
        Some(why) => Err(Failure::Failed(format!("{why}{}", way_out(&call.server, &body)))),
        None => Ok(()),
    }
}

/// What to do where the credential is what is missing; a link, where there is one, is in the sentence already.
fn way_out(server: &str, answer: &Value) -> String {
    let error = answer.get("error").unwrap_or(&Value::Null);
    let linked = error.get("data").and_then(|data| data.get("login_url")).is_some_and(Value::is_string);
    let server = screen::plain(server);
    match cell(error, "code").as_str() {
        "-31005" => format!(
            "\n  next: `gatehouse server test {server}` asks again and says why, `gatehouse connection ls {server}` whose it is"
        ),
        "-31006" if !linked => {
            format!("\n  next: `gatehouse connection ls {server}` says whose are there, and how there is one")
        }
        _ => String::new(),
    }
}

async fn as_holder(api: &Api, call: &Call, arguments: &RawValue) -> Result<(Bytes, Value), Failure> {
    let body = CallBody { tool: &call.tool, arguments };
    let body = serde_json::to_string(&body).map_err(|error| Failure::caused("can't write the call", error))?;
    let answered = api.post_raw(&["servers", &call.server, "call"], body).await;
    let Answer { raw, body, .. } = unless_disabled(api, &call.server, answered).await?;
    Ok((raw, body))
}

/// Gets a token for this one server and calls through the proxy with it, as a backend does for its users.
async fn in_the_name_of(
    user: &str,
    target: &Target,
    api: &Api,
    call: &Call,
    arguments: &RawValue,
) -> Result<(Bytes, Value), Failure> {
    let base = target.proxy(call.on_behalf.mcp_url.as_deref())?;
    // Paths of a proxy hold names; REST knows the name of an id, if the key may ask.
    let server = match call.server.parse::<ServerId>() {
        Ok(_) => cell(&api.get(&["servers", &call.server]).await?.body, "name"),
        Err(_) => call.server.clone(),
    };
    let token = tokens::for_call(api, user, &call.server).await?;
    let proxied = Proxied::new(target, &base, api.tenant(), &server, &token)?;
    let raw = proxied.call(&call.tool, arguments).await?;
    let body = serde_json::from_slice(&raw).map_err(|error| Failure::caused("can't read the answer", error))?;
    Ok((raw, body))
}

/// A proxy only knows that a disabled server is not mounted; the record knows why.
async fn unless_disabled(api: &Api, server: &str, answered: Result<Answer, Failure>) -> Result<Answer, Failure> {
    let Err(Failure::Refused(problem)) = &answered else { return answered };
    if problem.code != "upstream_failed" {
        return answered;
    }
    match api.get(&["servers", server]).await {
        Ok(record) if is_disabled(&record.body) => {
            Err(Failure::Failed(format!("{server} is disabled: `gatehouse server enable {server}`")))
        }
        _ => answered,
    }
}

fn is_disabled(record: &Value) -> bool {
    record.get("enabled").and_then(Value::as_bool) == Some(false)
}

#[derive(serde::Serialize)]
struct CallBody<'a> {
    tool: &'a str,
    arguments: &'a RawValue,
}

/// One JSON object as it was typed, or an object made of `key=value`.
fn arguments(words: &[String], input: impl FnOnce() -> Result<String, Failure>) -> Result<Box<RawValue>, Failure> {
    let text = match words {
        [] => "{}".to_owned(),
        [one] if one == "-" => input()?,
        [one] if one.trim_start().starts_with('{') => one.clone(),
        pairs => {
            let pairs: Result<Map<String, Value>, Failure> = pairs.iter().map(|pair| key_and_value(pair)).collect();
            Value::Object(pairs?).to_string()
        }
    };
    let wrong = || Failure::Usage("the arguments of a tool are one JSON object".to_owned());
    serde_json::from_str::<&RawValue>(text.trim())
        .ok()
        .filter(|raw| raw.get().starts_with('{'))
        .map(RawValue::to_owned)
        .ok_or_else(wrong)
}

/// A value that is JSON is taken as JSON, else as text: `count=3`, `name=Ann`, `zip='"01234"'`.
fn key_and_value(pair: &str) -> Result<(String, Value), Failure> {
    let (key, value) = pair
        .split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or_else(|| Failure::Usage(format!("`{pair}` is neither a JSON object nor key=value")))?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((key.to_owned(), value))
}

fn read_input() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(LARGEST_INPUT).read_to_string(&mut text);
    read.map_err(|error| Failure::caused("can't read standard input", error))?;
    Ok(text)
}

/// The result inside of control's answer.
fn result(answer: &Value) -> &Value {
    answer.get("result").unwrap_or(answer)
}

/// Why the call did not do what it should, if the tool or the protocol says so.
fn refusal(answer: &Value) -> Option<String> {
    if let Some(error) = answer.get("error").filter(|error| error.is_object()) {
        let (message, code) = (cell(error, "message"), cell(error, "code"));
        // A class in brackets says more than the number.
        let told = if message.ends_with(')') { message } else { format!("{message} (code {code})") };
        return Some(screen::plain(&told));
    }
    let is_error = result(answer).get("isError").and_then(Value::as_bool).unwrap_or(false);
    is_error.then(|| "the tool reports an error".to_owned())
}

/// Texts as they are, everything else as JSON. A terminal obeys control characters, so only line
/// breaks and tabs stay.
fn told(answer: &Value) -> String {
    if answer.get("error").is_some_and(Value::is_object) {
        return String::new();
    }
    let result = result(answer);
    let Some(blocks) = result.get("content").and_then(Value::as_array) else { return result.to_string() };
    let block = |block: &Value| match block.get("text").and_then(Value::as_str) {
        Some(text) => {
            text.lines().map(|line| screen::plain(&line.replace('\t', "    "))).collect::<Vec<_>>().join("\n")
        }
        None => block.to_string(),
    };
    blocks.iter().map(block).collect::<Vec<_>>().join("\n")
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= 100 { line.to_owned() } else { line.chars().take(99).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_without_a_credential_names_the_next_command_unless_a_link_is_there() {
        let answer = |code: i64, data: Value| json!({"error": {"code": code, "message": "m", "data": data}});
        assert!(way_out("n", &answer(-31006, json!({}))).contains("gatehouse connection ls n"));
        assert!(way_out("n", &answer(-31005, json!({}))).contains("gatehouse server test n"));
        assert_eq!(way_out("n", &answer(-31006, json!({"login_url": "http://c/connect/t/n"}))), "");
        assert_eq!(way_out("n", &answer(-32602, json!({}))), "");
    }

    fn typed(words: &[&str]) -> Result<String, u8> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let input = || Ok("{\"from\": \"input\"}\n".to_owned());
        arguments(&words, input).map(|raw| raw.get().to_owned()).map_err(|failure| failure.exit_code())
    }

    #[test]
    fn arguments_are_one_object_however_they_are_typed() {
        for (words, expected) in [
            (&[][..], Ok("{}")),
            (&["{\"big\": 123456789012345678901234567890}"], Ok("{\"big\": 123456789012345678901234567890}")),
            (&["message=hi there"], Ok("{\"message\":\"hi there\"}")),
            (
                &["a=3", "b=true", "c=\"3\"", "d=[1,2]", "e="],
                Ok("{\"a\":3,\"b\":true,\"c\":\"3\",\"d\":[1,2],\"e\":\"\"}"),
            ),
            (&["equation=a=b"], Ok("{\"equation\":\"a=b\"}")),
            (&["-"], Ok("{\"from\": \"input\"}")),
            (&["{\"a\": 1"], Err(2)),
            (&["[1]"], Err(2)),
            (&["word"], Err(2)),
            (&["=x"], Err(2)),
        ] {
            assert_eq!(typed(words).as_deref(), expected.as_ref().map(|text| *text), "{words:?}");
        }
    }

    #[test]
    fn texts_are_shown_and_other_blocks_are_json() {
        let answer =
            json!({"result": {"content": [{"type": "text", "text": "a\nb\u{1b}[2J"}, {"type": "image", "data": "x"}]}});
        assert_eq!(told(&answer), "a\nb?[2J\n{\"data\":\"x\",\"type\":\"image\"}");
    }

    #[test]
    fn a_tools_error_and_a_protocols_error_fail_the_command() {
        for (answer, refused) in [
            (json!({"result": {"content": []}}), None),
            (json!({"content": [], "isError": false}), None),
            (json!({"result": {"isError": true}}), Some("the tool reports an error")),
            (json!({"error": {"code": -32602, "message": "unknown tool"}}), Some("unknown tool (code -32602)")),
            (json!({"error": {"code": -31001, "message": "not reached (refused)"}}), Some("not reached (refused)")),
        ] {
            assert_eq!(refusal(&answer).as_deref(), refused, "{answer}");
        }
    }

    #[test]
    fn descriptions_are_cut_to_a_line() {
        assert_eq!(first_line("one\ntwo"), "one");
        assert_eq!(first_line(&"x".repeat(200)).chars().count(), 100);
    }
}
