//! Where control is and with which key it is asked; never sends a folder's key to an address that isn't the folder's.

use std::fmt;
use std::path::Path;

use egress::operator::Client;
use model::{KeyText, Secret};
use url::Url;

use crate::args;
use crate::failure::Failure;
use crate::home::{self, Home};
use crate::keys::Keys;
use crate::ports::Ports;

/// Where control is if nothing says otherwise.
const KNOWN_URL: &str = "http://127.0.0.1:5010";

/// Whom to ask, and as whom.
#[derive(Debug)]
pub(crate) struct Target {
    /// Where REST is.
    pub(crate) control: Url,
    /// Where MCP is, if the data folder knows.
    pub(crate) mcp: Option<Url>,
    /// The key; `None` where a verb needs none.
    pub(crate) key: Option<Secret>,
    /// The tenant to work on, if it isn't the key's.
    pub(crate) tenant: Option<String>,
    /// Whom to trust besides the authorities that everybody knows.
    pub(crate) authority: Option<Authority>,
}

/// PEM text of an authority, and where it was read.
pub(crate) struct Authority {
    told: String,
    pem: Vec<u8>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authority").field(&self.told).finish()
    }
}

impl Authority {
    fn read(path: &Path) -> Result<Self, Failure> {
        let told = path.display().to_string();
        let pem = std::fs::read(path).map_err(|error| Failure::caused(format!("can't read {told}"), error))?;
        Ok(Self { told, pem })
    }
}

impl Target {
    /// Where MCP is: what was named, else what the data folder knows.
    pub(crate) fn proxy(&self, named: Option<&str>) -> Result<Url, Failure> {
        match (named, &self.mcp) {
            (Some(named), _) => of_proxy(named),
            (None, Some(known)) => Ok(known.clone()),
            (None, None) => {
                Err(Failure::Usage("name the URL of the proxy with --mcp-url or GATEHOUSE_MCP_URL".to_owned()))
            }
        }
    }

    /// A client of a place of this target.
    pub(crate) fn client(&self, base: &Url) -> Result<Client, Failure> {
        let client = Client::new(base.clone())
            .map_err(|error| Failure::caused(format!("{base} can't be a URL of Gatehouse"), error))?;
        let Some(Authority { told, pem }) = &self.authority else { return Ok(client) };
        client.trusting(pem).map_err(|error| Failure::caused(format!("can't use {told}"), error))
    }
}

/// Finds the target of a command. `GATEHOUSE_KEY` comes as an argument, so that this reads no environment.
pub(crate) fn target(access: &args::Access, key_variable: Option<Secret>) -> Result<Target, Failure> {
    let home = Home::find(access.data_dir.as_deref())?;
    let ports = Ports::of(&home)?;
    let local = match &ports {
        Some(ports) => parse(&ports.control_url())?,
        None => parse(KNOWN_URL)?,
    };
    let control = match &access.url {
        Some(named) => of_control(named)?,
        None => local.clone(),
    };
    let is_local = control.origin() == local.origin();
    let key = match (&access.key_file, key_variable) {
        (Some(path), _) => Some(key_in_file(path)?),
        (None, Some(key)) => Some(checked(key, "GATEHOUSE_KEY")?),
        (None, None) if is_local => Keys::of(&home)?.map(|keys| keys.admin),
        (None, None) => None,
    };
    let mcp = match ports {
        Some(ports) if is_local => Some(parse(&ports.mcp_url())?),
        _ => None,
    };
    let authority = access.ca_file.as_deref().map(Authority::read).transpose()?;
    Ok(Target { control, mcp, key, tenant: access.tenant.clone(), authority })
}

/// What somebody typed as control's URL. A server's URL in its place would get the key.
fn of_control(text: &str) -> Result<Url, Failure> {
    let url = parse(text)?;
    let path = url.path().trim_end_matches('/');
    if path.ends_with("/mcp") || path.ends_with("/sse") {
        let what = format!("--url is where control is, and {text} is an MCP endpoint");
        return Err(Failure::Usage(format!("{what}; a server gets a new one by `gatehouse server set NAME --to URL`")));
    }
    Ok(url)
}

/// What somebody typed as the proxy's URL: the part that all its paths have in common.
fn of_proxy(text: &str) -> Result<Url, Failure> {
    let url = parse(text)?;
    if url.path().trim_end_matches('/').ends_with("/mcp") || url.query().is_some() || url.fragment().is_some() {
        let what = format!("--mcp-url is where the proxy is, without the path of an endpoint: {text} has one");
        return Err(Failure::Usage(what));
    }
    Ok(url)
}

fn parse(text: &str) -> Result<Url, Failure> {
    let url = Url::parse(text).map_err(|error| Failure::Usage(format!("{text} is no URL: {error}")))?;
    match url.scheme() {
        "http" | "https" if url.username().is_empty() && url.password().is_none() => Ok(url),
        "http" | "https" => Err(Failure::Usage("the URL must not hold a user name or password".to_owned())),
        other => Err(Failure::Usage(format!("the URL must be http or https, not {other}"))),
    }
}

/// The file holds the key alone, or is a `keys.json`, of which the admin's key is meant.
fn key_in_file(path: &std::path::Path) -> Result<Secret, Failure> {
    let text = home::read_secret(path)?.ok_or_else(|| Failure::NoKey(format!("{} does not exist", path.display())))?;
    let text = Secret::new(text);
    let told = path.display().to_string();
    if text.expose().trim_start().starts_with('{') {
        let keys = Keys::parse(text.expose()).map_err(|_| Failure::NoKey(format!("{told} is no keys file")))?;
        return checked(keys.admin, &told);
    }
    checked(text, &told)
}

/// A key that was cut or mistyped is found here, before anything is sent.
fn checked(key: Secret, from: &str) -> Result<Secret, Failure> {
    let trimmed = key.expose().trim();
    match trimmed.parse::<KeyText>() {
        Ok(_) => Ok(Secret::new(trimmed.to_owned())),
        Err(error) => Err(Failure::NoKey(format!("{from}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_not_taken_for_the_url_of_the_proxy() {
        for (url, taken) in [
            ("https://mcp.example", true),
            ("https://mcp.example/gate/", true),
            ("https://mcp.example/mcp", false),
            ("http://127.0.0.1:5011/servers/notes/mcp/", false),
            ("https://mcp.example/?a", false),
            ("https://a:b@mcp.example", false),
            ("mcp.example", false),
        ] {
            assert_eq!(of_proxy(url).is_ok(), taken, "{url}");
        }
    }

    #[test]
    fn a_servers_url_is_not_taken_for_that_of_control() {
        for (url, taken) in [
            ("https://gatehouse.example", true),
            ("https://example.com/gatehouse/", true),
            ("https://notes.example/mcp", false),
            ("https://notes.example/mcp/", false),
            ("https://notes.example/sse", false),
        ] {
            let said = of_control(url).map_err(|failure| (failure.exit_code(), failure.to_string()));
            assert_eq!(said.is_ok(), taken, "{url}");
            if let Err((code, told)) = said {
                assert!(code == 2 && told.contains("server set NAME --to"), "{told}");
            }
        }
    }

    struct Folder {
        _dir: tempfile::TempDir,
        home: Home,
    }

    fn key(id: u8) -> Secret {
        KeyText::mint("test", [id; 16], [id; 32]).expose()
    }

    fn folder_of_an_up() -> Folder {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::find(Some(dir.path())).unwrap();
        Keys { admin: key(1), client: key(2) }.keep(&home).unwrap();
        let at = |port: u16| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let ports = Ports {
            control: at(7001),
            mcp: at(7002),
            link: at(7003),
            control_metrics: at(7004),
            mcp_metrics: at(7005),
            mcp_peers: at(7006),
        };
        ports.keep(&home).unwrap();
        Folder { _dir: dir, home }
    }

    fn access(folder: &Folder, url: Option<&str>) -> args::Access {
        args::Access {
            ca_file: None,
            data_dir: Some(folder.home.path().to_owned()),
            url: url.map(str::to_owned),
            key_file: None,
            tenant: None,
            json: false,
        }
    }

    #[test]
    fn a_running_up_is_found_by_its_folder() {
        let folder = folder_of_an_up();
        let target = target(&access(&folder, None), None).unwrap();
        assert_eq!(target.control.as_str(), "http://127.0.0.1:7001/");
        assert_eq!(target.mcp.unwrap().as_str(), "http://127.0.0.1:7002/");
        assert_eq!(target.key.unwrap().expose(), key(1).expose());
    }

    #[test]
    fn the_folders_key_goes_to_the_folders_address_only() {
        let folder = folder_of_an_up();
        for (url, sent) in [
            ("http://127.0.0.1:7001", true),
            ("http://127.0.0.1:7009", false),
            ("https://127.0.0.1:7001", false),
            ("https://gatehouse.example", false),
        ] {
            let target = target(&access(&folder, Some(url)), None).unwrap();
            assert_eq!(target.key.is_some(), sent, "{url}");
        }
    }

    #[test]
    fn a_named_key_beats_the_variable_and_the_variable_the_folder() {
        let folder = folder_of_an_up();
        let mut access = access(&folder, None);
        let from_variable = target(&access, Some(key(3))).unwrap();
        assert_eq!(from_variable.key.unwrap().expose(), key(3).expose());
        let path = folder.home.file("other");
        home::replace(&path, 0o600, &format!("{}\n", key(4).expose())).unwrap();
        access.key_file = Some(path);
        assert_eq!(target(&access, Some(key(3))).unwrap().key.unwrap().expose(), key(4).expose());
    }

    #[test]
    fn a_key_with_a_typo_is_refused_without_being_shown() {
        let folder = folder_of_an_up();
        let mut cut = key(5).expose().to_owned();
        cut.pop();
        let failure = target(&access(&folder, None), Some(Secret::new(cut.clone()))).unwrap_err();
        assert_eq!(failure.exit_code(), 4);
        assert!(!failure.to_string().contains(&cut[10..40]));
    }

    #[test]
    fn addresses_that_can_not_be_meant_are_wrong_usage() {
        let folder = folder_of_an_up();
        for url in ["127.0.0.1:5010", "ftp://h", "http://me:secret@h"] {
            assert_eq!(target(&access(&folder, Some(url)), None).unwrap_err().exit_code(), 2, "{url}");
        }
    }
}
