//! Which words are understood, and how.

use clap::{CommandFactory, Parser};

use super::role::RoleWord;
use super::*;

fn read(line: &str) -> Result<Cli, clap::error::ErrorKind> {
    Cli::try_parse_from(std::iter::once("gatehouse").chain(line.split_whitespace())).map_err(|error| error.kind())
}

#[test]
fn the_command_line_holds_together() {
    Cli::command().debug_assert();
}

#[test]
fn every_verb_is_understood() {
    for line in [
        "up",
        "up --data-dir d --control 127.0.0.1:0 --mcp 127.0.0.1:0 --ready-json",
        "up --new-keys",
        "up --no-restart --link 127.0.0.1:7000",
        "status --json",
        "server add notes http://127.0.0.1:9/mcp",
        "server add notes http://h/mcp --transport sse --title N --header X-A:b --connect-timeout 100 --disable-tool rm --disabled",
        "server ls",
        "server list --search no",
        "server show notes",
        "server set notes --to http://h/mcp",
        "server set notes --no-headers --no-disabled-tools",
        "server rm notes other",
        "server enable notes",
        "server disable notes",
        "server test notes",
        "server tools notes",
        "server call notes echo message=hi",
        "tools notes",
        "call notes echo",
        "recover --dry-run --prune",
        "vault status --json",
        "import --from yuxi rows.jsonl --dry-run --old-key-file k",
        "import --from weknora rows.jsonl --old-tenant 1 --tenant acme",
        "vault rotate kek",
        "vault rotate tenant --tenant acme",
        "server add notes http://h/mcp --description D --tag a --tag b --icon wiki --retry-count 2 --retry-delay 100",
        "server add notes http://h/mcp --concurrent 4 --response-bytes 1000 --call-secs 9",
        "server set notes --no-description --no-tags --no-icon --no-concurrent --no-response-bytes --no-call-secs",
        "server ls --tag a --disabled --deleted",
        "server tools notes --refresh",
        "server tool disable notes echo",
        "server tool enable notes echo",
        "server rm notes --purge",
        "server restore notes",
        "server deps notes",
        "recover --adopt",
        "login notes",
        "login notes --scope user --for ann --no-wait --json",
        "logout notes --scope global",
        "connection ls notes --health attention --search a",
        "connection list --all --mine --json",
        "connection show notes",
        "connection set notes --credential-file -",
        "connection set notes --scope department --for research --field api_key=f --field b=-",
        "connection set notes --scope system --reference vault:mcp/notes --display-name N",
        "connection status notes disabled --scope user --for ann",
        "connection test notes",
        "connection revoke notes",
        "connection rm notes --scope global",
        "connection find",
        "toolset add office --title O --description D --listing search --tool notes/search=find --tool wiki/*",
        "toolset ls --search off",
        "toolset list",
        "toolset show office",
        "toolset set office --name o2 --no-description --no-tools",
        "toolset update office --tool notes/list",
        "toolset rm office other",
        "user create ann --title A --department a --department b --role viewer --external-id 7 --disabled",
        "user ls --search an --deleted",
        "user show ann",
        "user set ann --login anne --no-departments --no-external-id",
        "user rm ann bob",
        "user restore ann",
        "user enable ann",
        "user disable ann",
        "department create research --title R --external-id 7",
        "department ls --deleted",
        "department show research",
        "department set research --name labs --no-external-id",
        "department rm research",
        "department restore research",
        "key create --label laptop --role tenant_admin --server notes --expires-in 30d --user ann",
        "key show 0123456789abcdef",
        "key set 0123456789abcdef --label l --no-servers --expires-in 12h",
        "key rotate 0123456789abcdef --grace 7d",
        "key rotate 0123456789abcdef --no-grace",
        "whoami",
        "issuer add corp https://id.example --client-id c --client-secret-file - --audience a --algorithm RS256 --sign-in",
        "issuer add corp https://id.example --login-claim a --external-id-claim b --departments-claim c --role-claim d",
        "issuer add corp https://id.example --role admins=tenant_admin --scope s --unknown-users --mcp false --unchecked",
        "issuer ls",
        "issuer show corp",
        "issuer set corp --title C --client-secret-env VAR --no-audiences --no-scope --sign-in false",
        "issuer set corp --no-client-id --no-client-secret --no-departments-claim --no-role-claim --name c2",
        "issuer rm corp other",
        "issuer enable corp",
        "issuer disable corp",
        "issuer refresh corp",
        "session ls",
        "session rm 01890000-0000-7000-8000-000000000000",
        "grant ls",
        "grant rm 01890000-0000-7000-8000-000000000000",
        "key add --scope act_as --scope mcp",
        "key set 0123456789abcdef --scope rest",
        "token --as ann --server notes --ttl 5m",
        "call notes echo --as ann --mcp-url http://127.0.0.1:5011 message=hi",
        "user link ann --ttl 1h",
        "tenant set acme --authorization-server on --local-accounts off",
        "tenant create acme --authorization-server on",
        "tenant show acme",
        "tenant set acme --call-secs 9 --pool a --pool b --stale-after never",
        "tenant rm acme",
        "tenant restore acme",
        "tenant enable acme",
        "tenant disable acme",
        "egress allow wiki:8080 --http --tenant acme --reason because",
        "egress ls",
        "egress rm 01890000-0000-7000-8000-000000000000",
        "audit ls --since 24h --until 2026-01-31 --actor a --action b --object c --limit 9",
        "export --all-tenants",
        "apply - --dry-run --yes --prune --create-keys",
        "key ls",
        "key revoke 0123456789abcdef",
        "proxy ls",
        "tenant create acme --title Acme",
        "tenant ls",
        "certs",
        "version",
        "--url http://127.0.0.1:1 --key-file k --tenant acme server ls --json",
        "server ls --tenant acme --url http://127.0.0.1:1",
    ] {
        assert!(read(line).is_ok(), "{line}: {:?}", read(line).err());
    }
}

#[test]
fn wrong_lines_are_refused() {
    for line in [
        "",
        "upp",
        "up --control nowhere",
        "up --key ghk_live_x",
        "server add notes",
        "server add notes http://h --transport stdio",
        "server add notes http://h --header no-colon",
        "server set notes --no-headers --header a:b",
        "server set notes --no-disabled-tools --disable-tool x",
        "server set notes --disable-tool=",
        "server add notes http://h --disable-tool=",
        "server rm",
        "call notes",
        "key create --role king",
        "key create --scope everything",
        "issuer add corp",
        "issuer add corp https://id --client-secret s3cret",
        "issuer add corp https://id --client-secret-file f --client-secret-env V",
        "issuer add corp https://id --algorithm HS256",
        "issuer add corp https://id --algorithm none",
        "issuer add corp https://id --role admins=king",
        "issuer add corp https://id --role =user",
        "issuer set corp --no-client-secret --client-secret-file f",
        "tenant set acme --authorization-server maybe",
        "token --server notes",
        "session rm",
        "key create --expires-in 0d",
        "key create --expires-in soon",
        "key rotate a --grace 1d --no-grace",
        "server ls --enabled --disabled",
        "server set notes --call-secs 9 --no-call-secs",
        "server tool notes echo",
        "user set ann --department a --no-departments",
        "user create ann --role king",
        "tenant set acme --stale-after soon",
        "egress allow wiki",
        "egress allow http://wiki --reason r",
        "recover --prune --adopt",
        "audit ls --since yesterday",
        "audit ls --limit 0",
        "apply",
        "key revoke",
        "tenant create",
    ] {
        assert!(read(line).is_err(), "{line}");
    }
}

#[test]
fn up_listens_on_the_known_ports_unless_told_otherwise() {
    let Ok(Cli { verb: Verb::Up(up), .. }) = read("up") else { panic!("up is a verb") };
    assert_eq!(up.control.to_string(), "127.0.0.1:5010");
    assert_eq!(up.mcp.to_string(), "127.0.0.1:5011");
    assert_eq!(up.link, None);
    assert!(!up.no_restart && !up.ready_json);
}

#[test]
fn transport_aliases_mean_what_rest_means() {
    for (word, meant) in
        [("auto", "auto"), ("sse", "sse"), ("http", "streamable_http"), ("streamable-http", "streamable_http")]
    {
        let line = format!("server add a http://h --transport {word}");
        let Ok(Cli { verb: Verb::Server(ServerVerb::Add(add)), .. }) = read(&line) else { panic!("{line}") };
        assert_eq!(add.transport.as_str(), meant);
        assert_eq!(model::Transport::parse(meant).unwrap().as_str(), meant);
    }
}

#[test]
fn role_words_are_the_models() {
    for role in [RoleWord::Viewer, RoleWord::User, RoleWord::TenantAdmin, RoleWord::PlatformAdmin] {
        assert!(model::KeyRole::parse(role.as_str()).is_some());
    }
}

#[test]
fn a_header_is_a_name_and_a_value() {
    let header: Header = "X-Team:  blue: sky ".parse().unwrap();
    assert_eq!((header.name.as_str(), header.value.as_str()), ("X-Team", "blue: sky"));
    assert!(": value".parse::<Header>().is_err());
}

#[test]
fn help_names_the_exit_codes() {
    let help = Cli::command().render_help().to_string();
    for code in ["0 done", "1 failed", "2 wrong usage", "3 not found", "4 refused", "5 unreachable", "6 conflict"] {
        assert!(help.contains(code), "{code}");
    }
}

#[test]
fn the_folder_that_is_typed_last_is_meant() {
    for line in
        ["--data-dir a apply f --data-dir b", "--data-dir a --data-dir b status", "--data-dir a up --data-dir b"]
    {
        assert_eq!(read(line).unwrap().access.data_dir.unwrap().to_str(), Some("b"), "{line}");
    }
}

/// The words of a line as a shell cuts them, up to a comment or a redirection.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted) = (String::new(), false);
    for letter in line.chars().chain([' ']) {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty())),
            '#' | '>' if !quoted && word.is_empty() => break,
            letter => word.push(letter),
        }
    }
    words
}

#[test]
fn every_command_that_is_shown_somewhere_is_understood() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let mut shown = std::fs::read_to_string(readme).unwrap();
    for command in Cli::command().get_subcommands() {
        shown.push_str(&format!("{}\n", command.get_after_help().map(ToString::to_string).unwrap_or_default()));
    }
    let lines: Vec<&str> = shown.lines().map(str::trim).filter(|line| line.starts_with("gatehouse ")).collect();
    assert!(lines.len() > 30, "{lines:?}");
    for line in lines {
        // An explanation stands behind several spaces, a second command behind a bar.
        let line = line.split("    ").next().unwrap_or_default().split(" | ").next().unwrap_or_default();
        let line = line.split(" < ").next().unwrap_or_default();
        let read = Cli::try_parse_from(words(line));
        assert!(read.is_ok(), "{line}: {}", read.err().map(|error| error.to_string()).unwrap_or_default());
    }
}
