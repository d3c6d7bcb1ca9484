//! `gatehouse issuer`, `token`, `call --as`, `user link`, `session` and `grant`: who is calling, from the command line.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use tests::{Answer, Gatehouse, Http, Issuer, Upstream, eventually};

use crate::shell::Shell;

const SECRET: &str = "s3cret-of-the-client";

/// The status of a page.
async fn page(url: &str) -> u16 {
    Http::default().send("GET", url, &[], "").await.unwrap().status.as_u16()
}

/// Writes a secret into a file of its owner's alone.
fn secret_file(house: &Gatehouse) -> String {
    let path = house.dir().join("client.secret");
    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_issuer_has_a_life_and_its_clients_secret_is_never_shown() {
    let house = Gatehouse::start().await;
    let shell = Shell::of(&house);
    // Nobody listens there.
    let url = "http://127.0.0.1:1/id";
    shell.fails(1, &["issuer", "add", "corp", url]).await;
    assert!(shell.told(&["issuer", "ls"]).await.contains("no issuers yet"));
    let add = ["issuer", "add", "corp", url, "--unchecked", "--client-id", "gatehouse", "--client-secret-file", "-"];
    let more = ["--sign-in", "--role-claim", "roles", "--role", "boss=tenant_admin", "--departments-claim", "groups"];
    let ran = shell.run_with(&[&add[..], &more].concat(), SECRET).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!format!("{ran:?}").contains(SECRET));

    let shown = shell.done(&["issuer", "show", "corp"]).await;
    assert_eq!(
        (&shown["has_client_secret"], &shown["sign_in"], &shown["mcp"]),
        (&json!(true), &json!(true), &json!(true))
    );
    assert_eq!(shown["claims"]["roles"], json!({"boss": "tenant_admin"}));
    assert!(!shown.to_string().contains(SECRET));
    assert!(shell.told(&["issuer", "ls"]).await.contains("corp  enabled  sign-in,mcp"));

    let set = ["issuer", "set", "corp", "--title", "Corp", "--audience", "api://g", "--no-departments-claim"];
    shell.done(&[&set[..], &["--algorithm", "ES256", "--mcp", "false", "--no-client-secret"]].concat()).await;
    let shown = shell.done(&["issuer", "show", "corp"]).await;
    assert_eq!((&shown["title"], &shown["audiences"]), (&json!("Corp"), &json!(["api://g"])));
    assert_eq!((&shown["algorithms"], &shown["mcp"]), (&json!(["ES256"]), &json!(false)));
    assert_eq!((&shown["has_client_secret"], &shown["claims"]["departments"]), (&json!(false), &json!(null)));
    assert_eq!(shown["claims"]["roles"], json!({"boss": "tenant_admin"}), "what was not named stays");

    shell.done(&["issuer", "set", "corp", "--client-secret-file", &secret_file(&house)]).await;
    assert_eq!(shell.done(&["issuer", "show", "corp"]).await["has_client_secret"], true);
    shell.done(&["issuer", "disable", "corp"]).await;
    assert!(shell.told(&["issuer", "ls"]).await.contains("corp  disabled"));
    shell.done(&["issuer", "enable", "corp"]).await;
    let told = shell.fails(1, &["issuer", "set", "corp", "--no-client-id"]).await;
    assert!(told.contains("--client-id"), "{told}");
    shell.done(&["issuer", "rm", "corp"]).await;
    shell.fails(3, &["issuer", "show", "corp"]).await;
}

#[tokio::test]
async fn an_issuer_is_asked_for_its_keys() {
    let Some(mut issuer) = Issuer::start(&json!({})).await else { return };
    let house = Gatehouse::start().await;
    let shell = Shell::of(&house);
    shell.done(&["issuer", "add", "corp", issuer.url()]).await;
    let first = shell.done(&["issuer", "refresh", "corp"]).await;
    assert!(first["keys_at"].is_string() && first["failure"].is_null(), "{first}");
    issuer.away().await;
    let ran = shell.run(&["issuer", "refresh", "corp"]).await;
    assert_ne!(ran.code, 0, "{ran:?}");
}

#[tokio::test]
async fn a_backend_calls_in_the_name_of_a_user() {
    let house = Gatehouse::start().await;
    let shell = Shell::of(&house);
    let upstream = Upstream::named("notes").await;
    shell.done(&["server", "add", "notes", &upstream.url()]).await;
    let notes = shell.done(&["server", "show", "notes"]).await["id"].as_str().unwrap().to_owned();
    shell.done(&["user", "create", "ann"]).await;
    let made = shell.done(&["key", "add", "--label", "backend", "--scope", "act_as"]).await;
    assert_eq!(made["scopes"], json!(["act_as"]));
    assert!(shell.told(&["key", "ls"]).await.contains("act_as"));
    let backend = Shell::with_key(&house, made["key"].as_str().unwrap());
    let proxy = house.proxy();

    let call = ["call", "notes", "echo", "--as", "ann", "--mcp-url", &proxy, "text=hi"];
    assert_eq!(backend.told(&call).await.trim(), "notes: hi");
    let answer = backend.done(&call).await;
    assert_eq!(answer["result"]["content"][0]["text"], "notes: hi", "{answer}");
    let told = backend.fails(1, &["call", "notes", "fail", "--as", "ann", "--mcp-url", &proxy]).await;
    assert!(told.contains("error"), "{told}");

    let token = backend.done(&["token", "--as", "ann", "--server", "notes", "--ttl", "1m"]).await;
    assert_eq!(token["audience"], format!("urn:gatehouse:server:{notes}"), "{token}");
    let text = backend.told(&["token", "--as", "ann"]).await;
    assert_eq!(text.trim().split('.').count(), 3, "{text}");
    backend.fails(1, &["token", "--as", "ann", "--ttl", "1h"]).await;
    backend.fails(1, &["call", "notes", "echo", "--as", "nobody", "--mcp-url", &proxy]).await;
    backend.fails(2, &["call", "notes", "echo", "--as", "ann"]).await;
    backend.fails(2, &["call", "notes", "echo", "--as", "ann", "--mcp-url", &format!("{proxy}/mcp")]).await;
    backend.fails(4, &["server", "ls"]).await;

    // Without the scope nobody calls in another's name, and a key's other scopes don't help.
    let told = shell.fails(4, &["call", "notes", "echo", "--as", "ann"]).await;
    assert!(told.contains("act_as"), "{told}");
    shell
        .done(&["key", "set", made["id"].as_str().unwrap(), "--scope", "act_as", "--scope", "rest", "--scope", "mcp"])
        .await;
    assert_eq!(backend.told(&[&["call", &notes][..], &call[2..]].concat()).await.trim(), "notes: hi");
    shell.done(&["user", "disable", "ann"]).await;
    backend.fails(1, &call).await;
}

#[tokio::test]
async fn a_backend_of_another_tenant_calls_there() {
    let house = Gatehouse::start().await;
    let shell = Shell::of(&house);
    let upstream = Upstream::named("notes").await;
    shell.done(&["tenant", "create", "acme"]).await;
    shell.done(&["server", "add", "notes", &upstream.url(), "--tenant", "acme"]).await;
    shell.done(&["user", "create", "ann", "--tenant", "acme"]).await;
    let made = shell.done(&["key", "create", "--scope", "act_as", "--tenant", "acme"]).await;
    let backend = Shell::with_key(&house, made["key"].as_str().unwrap());
    let proxy = house.proxy();
    let call = ["call", "notes", "echo", "--as", "ann", "--mcp-url", &proxy, "text=hi"];
    for more in [&[][..], &["--tenant", "acme"]] {
        assert_eq!(backend.told(&[&call[..], more].concat()).await.trim(), "notes: hi", "{more:?}");
    }
    backend.fails(3, &[&call[..], &["--tenant", "default"]].concat()).await;
}

#[tokio::test]
async fn a_tenant_says_how_its_people_sign_in() {
    let house = Gatehouse::start().await;
    let shell = Shell::of(&house);
    shell.done(&["tenant", "create", "acme", "--authorization-server", "on"]).await;
    let settings = async || {
        let shown = shell.done(&["tenant", "show", "acme"]).await;
        (shown["authorization_server"].clone(), shown["local_accounts"].clone())
    };
    assert_eq!(settings().await, (json!(true), json!(true)));
    shell.done(&["tenant", "set", "acme", "--authorization-server", "off", "--local-accounts", "off"]).await;
    assert_eq!(settings().await, (json!(false), json!(false)));
    shell.done(&["user", "create", "ann", "--tenant", "acme"]).await;
    shell.fails(6, &["user", "link", "ann", "--tenant", "acme"]).await;
    shell.done(&["tenant", "set", "acme", "--local-accounts", "on"]).await;
    let told = shell.told(&["user", "link", "ann", "--ttl", "1h", "--tenant", "acme"]).await;
    let url = told.lines().next().unwrap();
    assert!(told.contains("signs ann in once"), "{told}");
    assert_eq!(page(url).await, 200);
    shell.fails(3, &["user", "link", "bob", "--tenant", "acme"]).await;
    shell.fails(1, &["user", "link", "ann", "--ttl", "2d", "--tenant", "acme"]).await;
}

/// Sets a password on the page of a one-time link, as a browser does; the cookie of the session.
async fn set_password(control: &str, link: &str) -> String {
    let http = Http::default();
    let page = http.send("GET", link, &[], "").await.unwrap().expect(200);
    let cookie = |answer: &Answer| answer.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
    let text = page.text();
    let (_, after) = text.split_once("name=\"csrf\" value=\"").unwrap();
    let csrf = after.split('"').next().unwrap();
    let password = "several+unrelated+words";
    let form = format!("csrf={csrf}&username=admin&password={password}&again={password}");
    let kind = "application/x-www-form-urlencoded";
    let headers = [("content-type", kind), ("origin", control), ("cookie", &cookie(&page))];
    let answer = http.send("POST", link, &headers, form).await.unwrap();
    assert_eq!(answer.status, 303, "{}", answer.text());
    cookie(&answer)
}

#[tokio::test]
async fn a_session_is_listed_and_ended() {
    let mut house = Gatehouse::start().await;
    let link = house.ready()["sign_in"].as_str().unwrap().to_owned();
    let cookie = set_password(house.control(), &link).await;
    let me = format!("{}/api/v1/me", house.control());
    let asked = async || Http::default().send("GET", &me, &[("cookie", &cookie)], "").await.unwrap().status.as_u16();
    assert_eq!(asked().await, 200);
    let shell = Shell::of(&house);
    let listed = shell.done(&["session", "ls"]).await;
    let session = listed["items"][0]["id"].as_str().unwrap();
    assert!(shell.told(&["session", "ls"]).await.contains("  admin  "));
    shell.done(&["session", "rm", session]).await;
    assert_eq!(asked().await, 401);
    shell.fails(3, &["session", "rm", session]).await;

    let again = house.again();
    house.end().await;
    assert!(again.start().await.ready()["sign_in"].is_null(), "there is a password now");
}

#[tokio::test]
async fn nobody_is_signed_in_yet_and_nothing_can_be_ended_twice() {
    let house = Gatehouse::start().await;
    let shell = Shell::of(&house);
    assert_eq!(shell.told(&["session", "ls"]).await.trim(), "nobody is signed in");
    assert_eq!(shell.told(&["grant", "ls"]).await.trim(), "no client was let in");
    for noun in ["session", "grant"] {
        shell.fails(3, &[noun, "rm", "01890000-0000-7000-8000-000000000000"]).await;
        assert_eq!(shell.done(&[noun, "ls"]).await["items"], json!([]));
    }
}

#[tokio::test]
async fn the_first_admin_gets_a_link_until_there_is_a_password() {
    let mut house = Gatehouse::start().await;
    let link = |house: &Gatehouse| house.ready()["sign_in"].as_str().map(str::to_owned);
    let first = link(&house).expect("a link");
    assert!(first.starts_with(&format!("{}/signin/link/", house.control())), "{first}");
    assert_eq!(page(&first).await, 200);
    let shown = Shell::of(&house).done(&["user", "show", "admin"]).await;
    assert_eq!((&shown["role"], &shown["has_password"]), (&json!("platform_admin"), &json!(false)));

    let again = house.again();
    house.end().await;
    let mut house = again.start().await;
    assert!(link(&house).is_some_and(|second| second != first), "the first was not used");
    Shell::of(&house).done(&["user", "rm", "admin"]).await;
    let again = house.again();
    house.end().await;
    let house = again.start().await;
    assert_eq!(link(&house), None, "who removed it meant to");
    Shell::of(&house).fails(3, &["user", "show", "admin"]).await;
}

#[tokio::test]
async fn issuers_scopes_and_settings_take_part_in_documents() {
    let (house, empty) = (Gatehouse::start().await, Gatehouse::start().await);
    let (shell, other) = (Shell::of(&house), Shell::of(&empty));
    let secret = secret_file(&house);
    shell.done(&["tenant", "create", "acme", "--authorization-server", "on", "--local-accounts", "off"]).await;
    let add = ["issuer", "add", "corp", "http://127.0.0.1:1/id", "--unchecked", "--client-id", "g", "--tenant", "acme"];
    let more = ["--client-secret-file", &secret, "--audience", "b", "--audience", "a", "--algorithm", "RS256"];
    let claims = ["--role-claim", "realm_access.roles", "--role", "boss=tenant_admin", "--scope", "mcp:use"];
    shell.done(&[&add[..], &more, &claims].concat()).await;
    shell.done(&["issuer", "add", "plain", "http://127.0.0.1:1/plain", "--unchecked", "--tenant", "acme"]).await;
    shell.done(&["issuer", "disable", "plain", "--tenant", "acme"]).await;
    shell.done(&["key", "create", "--label", "backend", "--scope", "act_as", "--tenant", "acme"]).await;

    let exported = shell.told(&["export", "--all-tenants"]).await;
    assert!(!exported.contains(SECRET) && exported.contains("client_secret: held"), "{exported}");
    assert!(
        exported.contains("authorization_server: true") && exported.contains("local_accounts: false"),
        "{exported}"
    );
    for more in [&[][..], &["--prune"], &["--create-keys"]] {
        let told = applied(&shell, &exported, more).await;
        assert_eq!(told.lines().last(), Some("nothing is to be done"), "{more:?}: {told}");
    }

    // Elsewhere the secret is missing, which is said, until the document says where it is.
    let told = applied(&other, &exported, &["--create-keys"]).await;
    assert!(told.contains("acme: issuer corp is without the secret of its client"), "{told}");
    assert!(told.contains("--client-secret-file FILE --tenant acme`"), "{told}");
    let missing = exported.replace("client_secret: held", "client_secret: file:/nowhere/at/all");
    let ran = other.run_with(&["apply", "-", "--yes"], &missing).await;
    assert!(ran.code == 2 && ran.stderr.contains("/nowhere/at/all"), "{ran:?}");
    let typed = exported.replace("client_secret: held", &format!("client_secret: {SECRET}"));
    let ran = other.run_with(&["apply", "-", "--yes"], &typed).await;
    assert!(ran.code == 1 && ran.stderr.contains("env:VARIABLE") && !ran.stderr.contains(SECRET), "{ran:?}");
    let referred = exported.replace("client_secret: held", &format!("client_secret: file:{secret}"));
    let told = applied(&other, &referred, &[]).await;
    assert!(told.contains("~ issuer corp") || told.contains("~ acme: issuer corp"), "{told}");
    assert!(applied(&other, &referred, &[]).await.ends_with("nothing is to be done\n"));
    assert_eq!(other.told(&["export", "--all-tenants"]).await, exported);
    let shown = other.done(&["issuer", "show", "plain", "--tenant", "acme"]).await;
    assert_eq!((&shown["enabled"], &shown["algorithms"]), (&json!(false), &json!(["ES256", "EdDSA", "RS256"])));

    let switched = exported.replace("enabled: false", "enabled: true");
    let told = applied(&other, &switched, &["--prune"]).await;
    assert!(told.contains("tokens are let in"), "{told}");
    eventually("the issuer is believed", || async {
        let shown = other.done(&["issuer", "show", "plain", "--tenant", "acme"]).await;
        (shown["enabled"] == Value::Bool(true)).then_some(())
    })
    .await;
}

async fn applied(shell: &Shell, text: &str, more: &[&str]) -> String {
    let ran = shell.run_with(&[&["apply", "-", "--yes"], more].concat(), text).await;
    assert_eq!(ran.code, 0, "{ran:?}\n{text}");
    ran.stdout
}
