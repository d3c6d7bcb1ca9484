//! `gatehouse apply`: reads, plans, asks, and carries the plan out step by step.

mod step;

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::house;
use crate::api::Api;
use crate::args::Apply;
use crate::declared::{Document, Kind, Mistake, Plan, Present, Whose, Wish, as_json, as_text, plan, read};
use crate::failure::Failure;
use crate::screen::{self, Screen, cell};

/// No document is larger.
const LARGEST: u64 = 64 << 20;

/// Makes the house as the document says.
pub(super) async fn run(api: &Api, apply: &Apply, screen: Screen) -> Result<(), Failure> {
    let text = text_of(&apply.file)?;
    let document = read(&text).map_err(|mistakes| refused(&apply.file, &mistakes))?;
    let present = present(api, &document).await?;
    let wish = Wish { prune: apply.prune, create_keys: apply.create_keys };
    let plan = plan(&document, &present, wish).map_err(|mistakes| refused(&apply.file, &mistakes))?;
    if screen == Screen::Text {
        screen::line(as_text(&plan).trim_end())?;
    }
    // Where the document is: from there on it names files.
    let folder = apply.file.parent().unwrap_or(Path::new(""));
    let go = !apply.dry_run && !plan.steps.is_empty();
    if go {
        plan.steps.iter().try_for_each(|step| step::check(step, folder))?;
    }
    if go && !apply.yes {
        agreed(&apply.file)?;
    }
    let mut done = Vec::new();
    let outcome = if go { carry_out(api, &plan, folder, screen, &mut done).await } else { Ok(()) };
    if screen == Screen::Json {
        screen::line(&json!({ "plan": as_json(&plan), "dry_run": apply.dry_run, "done": done }).to_string())?;
    }
    outcome.map_err(|failure| Failure::Stopped {
        what: format!("{} of {} steps are done, run it again to go on", done.len(), plan.steps.len()),
        cause: Box::new(failure),
    })
}

fn text_of(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file.as_os_str() == "-" {
        io::stdin().take(LARGEST).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(LARGEST).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::caused(format!("can't read {}", file.display()), error))?;
    Ok(text)
}

/// Everything that is wrong with the document, line by line.
fn refused(file: &Path, mistakes: &[Mistake]) -> Failure {
    let told: Vec<String> = mistakes.iter().map(|mistake| screen::plain(&mistake.to_string())).collect();
    Failure::Failed(format!("{} is refused, nothing was changed\n  {}", file.display(), told.join("\n  ")))
}

/// What the house holds of what the document speaks of.
async fn present(api: &Api, document: &Document) -> Result<Present, Failure> {
    let is_of_platform = |whose: &Whose| *whose != Whose::Own;
    if document.sections.keys().any(|(whose, _)| is_of_platform(whose)) {
        if let Some(tenant) = api.tenant() {
            let what = format!("the document says which tenants it is about: leave --tenant {tenant} away");
            return Err(Failure::Usage(what));
        }
        let tenants = document.sections.get(&(Whose::Platform, Kind::Tenant)).into_iter().flatten();
        let names: Vec<String> = tenants.map(|declared| declared.record.name.clone()).collect();
        house::platform(api, Some(&names)).await
    } else {
        house::own(api).await
    }
}

/// Asks whoever sits there. Without a terminal only `--yes` goes on.
fn agreed(file: &Path) -> Result<(), Failure> {
    if file.as_os_str() == "-" || !io::stdin().is_terminal() {
        return Err(Failure::Usage("nobody can be asked here: look at the plan, then add --yes".to_owned()));
    }
    let mut err = io::stderr().lock();
    let asked = write!(err, "do this? [y/N] ").and_then(|()| err.flush());
    asked.map_err(|error| Failure::caused("can't ask", error))?;
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| Failure::caused("can't read the answer", error))?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::Failed("nothing was changed".to_owned())),
    }
}

/// Does step after step; the first that fails ends it.
async fn carry_out(
    api: &Api,
    plan: &Plan,
    folder: &Path,
    screen: Screen,
    done: &mut Vec<Value>,
) -> Result<(), Failure> {
    for step in &plan.steps {
        let named = screen::plain(&step.to_string());
        let answer = step::carry_out(&house::seat(api, &step.whose), step, folder)
            .await
            .map_err(|failure| Failure::Stopped { what: named.clone(), cause: Box::new(failure) })?;
        let key = cell(&answer, "key");
        if screen == Screen::Text {
            screen::line(&format!("{}: {named}", step::past(step)))?;
            if !key.is_empty() {
                screen::line(&format!("    {key}\n    Keep it now: it is not shown again."))?;
            }
        }
        let mut line = json!({ "step": named, "id": cell(&answer, "id") });
        if let (false, Some(members)) = (key.is_empty(), line.as_object_mut()) {
            members.insert("key".to_owned(), key.into());
        }
        done.push(line);
    }
    Ok(())
}
