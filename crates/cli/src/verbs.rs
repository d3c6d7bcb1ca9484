//! What each verb does: one file per noun.

mod apply;
mod audit;
mod body;
mod certs;
mod connections;
mod departments;
mod effects;
mod egress;
mod export;
mod grants;
mod house;
mod import;
mod issuers;
mod keys;
mod login;
mod me;
mod proxies;
mod records;
mod recover;
mod secret;
mod servers;
mod sessions;
mod status;
mod tenants;
mod tokens;
mod tools;
mod toolsets;
mod users;
mod vault;

use model::Secret;

use crate::access::{self, Target};
use crate::api::Api;
use crate::args::{Cli, ConnectionVerb, ProxyVerb, Verb};
use crate::failure::Failure;
use crate::screen::{self, Screen};
use crate::up;

/// Does what was typed.
pub(crate) async fn run(cli: Cli) -> Result<(), Failure> {
    let Cli { access, verb } = cli;
    let screen = Screen::new(access.json);
    let target = || -> Result<Target, Failure> {
        let key = std::env::var("GATEHOUSE_KEY").ok().filter(|key| !key.is_empty());
        access::target(&access, key.map(Secret::new))
    };
    match verb {
        Verb::Up(up) => up::run(&access, &up).await,
        Verb::Status => status::run(&target()?, screen).await,
        Verb::Server(verb) => servers::run(&target()?, verb, screen).await,
        Verb::Tools { server } => tools::list(&Api::open(&target()?)?, &server, screen).await,
        Verb::Call(call) => tools::call(&target()?, &call, screen).await,
        Verb::Recover(recover) => recover::run(&Api::open(&target()?)?, &recover, screen).await,
        Verb::Toolset(verb) => toolsets::run(&Api::open(&target()?)?, verb, screen).await,
        Verb::User(verb) => users::run(&Api::open(&target()?)?, verb, screen).await,
        Verb::Department(verb) => departments::run(&Api::open(&target()?)?, verb, screen).await,
        Verb::Key(verb) => keys::run(&Api::open(&target()?)?, verb, screen).await,
        Verb::Issuer(verb) => issuers::run(&Api::open(&target()?)?, verb, screen).await,
        Verb::Session(verb) => sessions::run(&Api::open(&target()?)?, verb, screen).await,
        Verb::Grant(verb) => grants::run(&Api::open(&target()?)?, verb, screen).await,
        Verb::Connection(verb) => connections::run(&Api::open(&target()?)?, verb, screen).await,
        Verb::Login(login) => login::run(&Api::open(&target()?)?, &login, screen).await,
        Verb::Logout(of) => connections::run(&Api::open(&target()?)?, ConnectionVerb::Revoke(of), screen).await,
        Verb::Token(token) => tokens::run(&Api::open(&target()?)?, &token, screen).await,
        Verb::Whoami => me::run(&Api::open(&target()?)?, screen).await,
        Verb::Tenant(verb) => tenants::run(&Api::open(&target()?)?, verb, screen).await,
        Verb::Egress(verb) => egress::run(&Api::open(&target()?)?, verb, screen).await,
        Verb::Proxy(ProxyVerb::Ls) => proxies::list(&Api::open(&target()?)?, screen).await,
        Verb::Vault(verb) => vault::run(&Api::open(&target()?)?, verb, screen).await,
        Verb::Audit(verb) => audit::run(&Api::open(&target()?)?, verb, screen).await,
        Verb::Import(import) => import::run(&Api::open(&target()?)?, &import, screen).await,
        Verb::Export(export) => export::run(&Api::open(&target()?)?, &export, screen).await,
        Verb::Apply(apply) => apply::run(&Api::open(&target()?)?, &apply, screen).await,
        Verb::Certs => certs::run(&access, screen),
        Verb::Version => {
            let version = serde_json::json!({ "version": env!("CARGO_PKG_VERSION") });
            screen.show(&version, |version| format!("gatehouse {}", screen::cell(version, "version")))
        }
    }
}
