//! What a reference reaches, and what it does not.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use model::ManualClock;

use super::*;

struct House {
    references: References,
    tenant: TenantId,
    other: TenantId,
    dir: tempfile::TempDir,
}

fn closed(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn house() -> House {
    let dir = tempfile::tempdir().unwrap();
    let (tenant, other) = (TenantId::fresh(), TenantId::fresh());
    let root = dir.path().join("root");
    closed(&root.join(tenant.to_string()).join("crm/token"), "hush");
    closed(&root.join(other.to_string()).join("token"), "theirs");
    closed(&dir.path().join("outside"), "outside");
    let sources = ReferenceSources { files: Some(root), http: None };
    House { references: References::new(&sources, Arc::new(ManualClock::at(0))), tenant, other, dir }
}

impl House {
    fn own(&self) -> PathBuf {
        self.dir.path().join("root").join(self.tenant.to_string())
    }

    async fn read(&self, name: &str) -> Result<String, ReferenceError> {
        let reference = Reference { source: References::FILES.to_owned(), name: name.to_owned() };
        let found = self.references.read(self.tenant, &reference, false).await?;
        Ok(String::from_utf8(found.to_vec()).unwrap())
    }
}

#[tokio::test]
async fn r62_a_reference_reaches_only_what_lies_below_the_folder_of_its_tenant() {
    let house = house();
    assert_eq!(house.read("crm/token").await.unwrap(), "hush");
    let other = format!("../{}/token", house.other);
    for name in
        ["/etc/passwd", "../outside", "..", ".", "", "crm/../../outside", "crm//token", "crm\\token", "a\0b", &other]
    {
        assert_eq!(house.read(name).await, Err(ReferenceError::Outside), "{name:?}");
        let reference = Reference { source: References::FILES.to_owned(), name: name.to_owned() };
        assert_eq!(house.references.check(&reference), Err(ReferenceError::Outside), "{name:?}");
    }
    assert_eq!(house.read("crm/none").await, Err(ReferenceError::Missing));
    assert_eq!(house.read("crm").await, Err(ReferenceError::Malformed), "a folder is no credential");
    let elsewhere = Reference { source: "vault".to_owned(), name: "crm/token".to_owned() };
    assert_eq!(house.references.check(&elsewhere), Err(ReferenceError::NoSource));
}

#[tokio::test]
async fn links_that_leave_the_folder_are_not_followed_and_those_that_stay_are() {
    let house = house();
    let (own, other) = (house.own(), house.dir.path().join("root").join(house.other.to_string()));
    symlink(house.dir.path().join("outside"), own.join("out")).unwrap();
    symlink(other.join("token"), own.join("theirs")).unwrap();
    symlink(&other, own.join("folder")).unwrap();
    symlink("loop", own.join("loop")).unwrap();
    for name in ["out", "theirs", "folder/token", "loop"] {
        assert_eq!(house.read(name).await, Err(ReferenceError::Outside), "{name}");
    }
    symlink("crm", own.join("..data")).unwrap();
    symlink("..data/token", own.join("token")).unwrap();
    assert_eq!(house.read("token").await.unwrap(), "hush", "as mounted secrets are made");
    // A folder of the tenant that is itself a link to another's.
    fs::rename(&own, house.dir.path().join("moved")).unwrap();
    symlink(&other, &own).unwrap();
    assert_eq!(house.read("token").await, Err(ReferenceError::Outside));
}

#[tokio::test]
async fn r62_a_file_that_others_can_read_is_refused_and_so_is_a_long_one() {
    let house = house();
    let path = house.own().join("crm/token");
    for mode in [0o604, 0o640, 0o660, 0o644] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(house.read("crm/token").await, Err(ReferenceError::Open), "{mode:o}");
    }
    closed(&path, &"x".repeat(MAX_CREDENTIAL));
    assert_eq!(house.read("crm/token").await.unwrap().len(), MAX_CREDENTIAL);
    closed(&path, &"x".repeat(MAX_CREDENTIAL + 1));
    assert_eq!(house.read("crm/token").await, Err(ReferenceError::Malformed));
}

#[tokio::test]
async fn a_file_that_changes_counts_at_the_next_reading() {
    let house = house();
    assert_eq!(house.read("crm/token").await.unwrap(), "hush");
    closed(&house.own().join("crm/new"), "next");
    fs::rename(house.own().join("crm/new"), house.own().join("crm/token")).unwrap();
    assert_eq!(house.read("crm/token").await.unwrap(), "next");
}

#[tokio::test]
async fn a_kv_store_is_asked_below_the_prefix_with_the_token_of_now_and_its_answer_is_kept_for_a_while() {
    use crate::issuers::tests::idp::Idp;
    let (idp, dir, clock) = (Idp::open().await, tempfile::tempdir().unwrap(), Arc::new(ManualClock::at(0)));
    let token_file = dir.path().join("token");
    fs::write(&token_file, "first\n").unwrap();
    let http = ReferenceHttp {
        url: format!("{}/v1/secret/data", idp.base).parse().unwrap(),
        token_file: token_file.clone(),
        prefix: "gatehouse".to_owned(),
    };
    let sources = ReferenceSources { files: None, http: Some(http) };
    let references = References::new(&sources, clock.clone());
    let tenant = TenantId::fresh();
    let path = format!("/v1/secret/data/gatehouse/{tenant}/crm/api%20key");
    let answer = |secret: &str| {
        let body = serde_json::json!({"data": {"data": {"secrets": {"token": secret}}, "metadata": {"version": 3}}});
        idp.answers(&path, "200 OK", "", &body.to_string());
    };
    answer("one");
    let reference = Reference { source: References::HTTP.to_owned(), name: "crm/api key".to_owned() };
    let read =
        async |anew| String::from_utf8(references.read(tenant, &reference, anew).await.unwrap().to_vec()).unwrap();
    assert_eq!(read(false).await, r#"{"secrets":{"token":"one"}}"#);
    answer("two");
    fs::write(&token_file, "second").unwrap();
    assert_eq!(read(false).await, r#"{"secrets":{"token":"one"}}"#, "kept");
    assert_eq!(read(true).await, r#"{"secrets":{"token":"two"}}"#, "asked anew");
    answer("three");
    clock.advance_micros(60_000_000);
    assert_eq!(read(false).await, r#"{"secrets":{"token":"three"}}"#);
    let heads = idp.requests();
    let told: Vec<bool> = heads.iter().map(|head| head.to_lowercase().contains("x-vault-token: first")).collect();
    assert_eq!(told, [true, false, false]);
    let missing = Reference { source: References::HTTP.to_owned(), name: "none".to_owned() };
    assert_eq!(references.read(tenant, &missing, false).await.err(), Some(ReferenceError::Missing));
    idp.answers(&path, "403 Forbidden", "", "{}");
    assert_eq!(references.read(tenant, &reference, true).await.err(), Some(ReferenceError::Unavailable));
}
