//! What `up` says when both planes serve: one line of JSON, or what a person needs next.

use std::path::Path;

use model::Secret;
use serde_json::{Value, json};

use super::first_admin::LOGIN;
use crate::keys::Keys;
use crate::ports::Ports;

/// Everything that is said.
pub(super) struct Announcement<'a> {
    pub(super) ports: &'a Ports,
    pub(super) keys: &'a Keys,
    /// The link with which the first admin sets a password, if there is none yet.
    pub(super) sign_in: Option<&'a Secret>,
    /// Control's and the proxy's; `None` for one that died just now.
    pub(super) pids: [Option<i32>; 2],
    /// As it was typed, if it was: what the next command must repeat.
    pub(super) data_dir: Option<&'a Path>,
}

impl Announcement<'_> {
    /// One line for programs.
    pub(super) fn json(&self) -> String {
        let [control, proxy] = self.pids;
        json!({
            "control": self.ports.control_url(),
            "mcp": self.ports.mcp_url(),
            "admin_key": self.keys.admin.expose(),
            "client_key": self.keys.client.expose(),
            "console": format!("{}/", self.ports.control_url()),
            "sign_in": self.sign_in.map(Secret::expose),
            "pids": { "control": control, "proxy": proxy },
        })
        .to_string()
    }

    /// A page for people.
    pub(super) fn text(&self) -> String {
        let control = self.ports.control_url();
        let mcp = self.ports.mcp_url();
        let data_dir = self.data_dir.map(|dir| format!(" --data-dir {}", quoted(&dir.display().to_string())));
        let data_dir = data_dir.unwrap_or_default();
        let block = paste_block(&mcp, self.keys.client.expose());
        let sign_in = match self.sign_in {
            Some(link) => {
                format!("\nSet the password of `{LOGIN}` and sign in, once and within a day:\n\n  {}\n", link.expose())
            }
            None => String::new(),
        };
        format!(
            "
Gatehouse serves.

  MCP clients        {mcp}/mcp
  people sign in at  {control}/signin
  REST, status page  {control}/
  client key         {client}
  admin key          {admin}
{sign_in}
Paste this into an MCP client's configuration; without `headers` the client signs you in with a browser:

{block:#}

Then add a server and call one of its tools, in another terminal:

  {me}{data_dir} server add NAME URL
  {me}{data_dir} call NAME TOOL key=value

Ctrl-C ends both processes; the same command brings everything back.
",
            client = self.keys.client.expose(),
            admin = self.keys.admin.expose(),
            me = own_name(),
        )
    }
}

/// The block that MCP clients read.
fn paste_block(mcp: &str, client_key: &str) -> Value {
    json!({
        "mcpServers": {
            "gatehouse": {
                "type": "http",
                "url": format!("{mcp}/mcp"),
                "headers": { "Authorization": format!("Bearer {client_key}") },
            }
        }
    })
}

/// This program as it was started, so that the next command can be pasted.
fn own_name() -> String {
    quoted(&std::env::args().next().unwrap_or_else(|| "gatehouse".to_owned()))
}

/// For a shell: bare where nothing needs quotes.
pub(super) fn quoted(text: &str) -> String {
    let bare = |letter: char| letter.is_ascii_alphanumeric() || "/._-~+".contains(letter);
    if !text.is_empty() && text.chars().all(bare) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_announcement<T>(data_dir: Option<&Path>, told: impl Fn(&Announcement<'_>) -> T) -> T {
        let at = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let ports = Ports {
            control: at(5010),
            mcp: at(5011),
            link: at(5012),
            control_metrics: at(5014),
            mcp_metrics: at(5013),
            mcp_peers: at(5015),
        };
        let keys = Keys { admin: Secret::new("ghk_admin".to_owned()), client: Secret::new("ghk_client".to_owned()) };
        let link = Secret::new("http://127.0.0.1:5010/signin/link/l".to_owned());
        told(&Announcement { ports: &ports, keys: &keys, sign_in: Some(&link), pids: [Some(1), Some(2)], data_dir })
    }

    #[test]
    fn the_ready_line_is_one_line_with_exactly_the_promised_members() {
        let line = with_announcement(None, |told| told.json());
        assert!(!line.contains('\n'));
        assert_eq!(
            serde_json::from_str::<Value>(&line).unwrap(),
            json!({
                "control": "http://127.0.0.1:5010",
                "mcp": "http://127.0.0.1:5011",
                "admin_key": "ghk_admin",
                "client_key": "ghk_client",
                "console": "http://127.0.0.1:5010/",
                "sign_in": "http://127.0.0.1:5010/signin/link/l",
                "pids": { "control": 1, "proxy": 2 },
            })
        );
    }

    #[test]
    fn the_paste_block_is_json_with_the_client_key() {
        let text = with_announcement(None, |told| told.text());
        let begin = text.find('{').unwrap();
        let end = text.rfind('}').unwrap();
        let block: Value = serde_json::from_str(&text[begin..=end]).unwrap();
        let server = &block["mcpServers"]["gatehouse"];
        assert_eq!(server["url"], "http://127.0.0.1:5011/mcp");
        assert_eq!(server["headers"]["Authorization"], "Bearer ghk_client");
        assert!(!block.to_string().contains("ghk_admin"));
    }

    #[test]
    fn the_next_command_names_the_folder_that_was_named() {
        let text = with_announcement(Some(Path::new("./my folder")), |told| told.text());
        assert!(text.contains("--data-dir './my folder' server add"), "{text}");
        assert!(text.contains("\n  http://127.0.0.1:5010/signin/link/l\n"), "{text}");
        assert!(!with_announcement(None, |told| told.text()).contains("--data-dir"));
    }
}
