//! Which words are understood, and how.

use clap::{CommandFactory, Parser};

use super::tenancy::RoleWord;
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
        "key create --label laptop --role tenant_admin --server notes --days 30",
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
        "server set notes",
        "server set notes --no-headers --header a:b",
        "server set notes --no-disabled-tools --disable-tool x",
        "server set notes --disable-tool=",
        "server add notes http://h --disable-tool=",
        "server rm",
        "call notes",
        "key create --role king",
        "key create --days 0",
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
    for role in [RoleWord::Client, RoleWord::TenantAdmin, RoleWord::PlatformAdmin] {
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
