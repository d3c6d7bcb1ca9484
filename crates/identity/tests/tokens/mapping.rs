//! Which claims say who it is.

use identity::{Issued, TokenError, Verifier};
use model::{ClaimMapping, KeyRole};
use serde_json::{Value, json};

use crate::world::{Provider, access};

fn mapped(mapping: ClaimMapping, changes: Value) -> Result<Issued, TokenError> {
    let provider = Provider::new();
    let mut spec = provider.spec();
    spec.claims = mapping;
    access(&Verifier::new(&spec).unwrap(), &provider.token(changes))
}

fn names(list: &[&str]) -> Option<Vec<String>> {
    Some(list.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn a_claim_of_the_whole_name_comes_before_the_way_along_its_dots() {
    let at = |path: &str| ClaimMapping { external_id: path.to_owned(), ..ClaimMapping::default() };
    let missing = Err(TokenError::Claim("external_id"));
    for (path, claims, expected) in [
        ("oid", json!({"oid": "1"}), Ok("1")),
        ("a.b", json!({"a": {"b": "deep"}}), Ok("deep")),
        ("a.b", json!({"a": {"b": "deep"}, "a.b": "flat"}), Ok("flat")),
        ("https://example.com/id", json!({"https://example.com/id": "url"}), Ok("url")),
        ("a.b.c", json!({"a": {"b": {"c": "3"}}}), Ok("3")),
        ("a.b.c", json!({"a": {"b.c": "no"}}), missing.clone()),
        ("a.0", json!({"a": ["no"]}), missing.clone()),
        ("a.b", json!({"a": "no"}), missing.clone()),
        ("a..b", json!({"a": {"": {"b": "empty"}}}), Ok("empty")),
        ("", json!({}), missing.clone()),
        (".", json!({}), missing.clone()),
        ("oid", json!({}), missing.clone()),
        ("oid", json!({"oid": 7}), missing.clone()),
        ("oid", json!({"oid": ""}), missing.clone()),
        ("oid", json!({"oid": ["7"]}), missing.clone()),
        ("oid", json!({"oid": "a\r\nb"}), missing.clone()),
        ("oid", json!({"oid": "x".repeat(257)}), missing),
        ("oid", json!({"oid": "ü".repeat(256)}), Ok("")),
    ] {
        let found = mapped(at(path), claims.clone()).map(|issued| issued.external_id);
        let expected = expected.map(|text| if text.is_empty() { "ü".repeat(256) } else { text.to_owned() });
        assert_eq!(found, expected, "{path} in {claims}");
    }
}

#[test]
fn a_login_may_be_absent_but_not_odd() {
    for (claims, expected) in [
        (json!({}), Ok(None)),
        (json!({"preferred_username": "ann"}), Ok(Some("ann"))),
        (json!({"preferred_username": 1}), Err(TokenError::Claim("login"))),
        (json!({"preferred_username": ""}), Err(TokenError::Claim("login"))),
        (json!({"preferred_username": "a\u{0}"}), Err(TokenError::Claim("login"))),
    ] {
        let found = mapped(ClaimMapping::default(), claims.clone()).map(|issued| issued.login);
        assert_eq!(found, expected.map(|login| login.map(str::to_owned)), "{claims}");
    }
}

#[test]
fn departments_keep_their_order_and_are_bounded() {
    let mapping = ClaimMapping { departments: Some("groups".to_owned()), ..ClaimMapping::default() };
    let numbered = |count: usize| (0..count).map(|at| format!("d{at}")).collect::<Vec<_>>();
    let odd = Err(TokenError::Claim("departments"));
    for (groups, expected) in [
        (json!(null), Ok(None)),
        (json!([]), Ok(names(&[]))),
        (json!("sales"), Ok(names(&["sales"]))),
        (json!(["zoo", "accounting", "zoo", "Accounting"]), Ok(names(&["zoo", "accounting", "Accounting"]))),
        (json!(numbered(64)), Ok(Some(numbered(64)))),
        (json!(numbered(65)), odd.clone()),
        (json!(["ü".repeat(128)]), Ok(Some(vec!["ü".repeat(128)]))),
        (json!(["x".repeat(129)]), odd.clone()),
        (json!([""]), odd.clone()),
        (json!(["a\nb"]), odd.clone()),
        (json!(["a", 1]), odd.clone()),
        (json!([["a"]]), odd.clone()),
        (json!({"a": true}), odd.clone()),
        (json!(7), odd),
    ] {
        let found = mapped(mapping.clone(), json!({"groups": groups})).map(|issued| issued.departments);
        assert_eq!(found, expected, "{groups}");
    }
    let unmapped = mapped(ClaimMapping::default(), json!({"groups": ["sales"]})).unwrap();
    assert_eq!(unmapped.departments, None);
    let nothing = mapped(mapping, json!({})).unwrap();
    assert_eq!(nothing.departments, None);
}

#[test]
fn the_strongest_role_counts_and_other_values_stand_for_nothing() {
    let roles = [("staff", KeyRole::User), ("admins", KeyRole::TenantAdmin), ("guests", KeyRole::Viewer)];
    let mapping = ClaimMapping {
        role: Some("realm_access.roles".to_owned()),
        roles: roles.map(|(value, role)| (value.to_owned(), role)).to_vec(),
        ..ClaimMapping::default()
    };
    for (values, expected) in [
        (json!("staff"), Ok(Some(KeyRole::User))),
        (json!(["guests", "admins", "staff"]), Ok(Some(KeyRole::TenantAdmin))),
        (json!(["guests"]), Ok(Some(KeyRole::Viewer))),
        (json!(["platform_admin", "tenant_admin"]), Ok(None)),
        (json!(["Admins", "staff admins"]), Ok(None)),
        (json!([]), Ok(None)),
        (json!(null), Ok(None)),
        (json!({"admins": true}), Err(TokenError::Claim("role"))),
        (json!([1]), Err(TokenError::Claim("role"))),
    ] {
        let found = mapped(mapping.clone(), json!({"realm_access": {"roles": values}})).map(|issued| issued.role);
        assert_eq!(found, expected, "{values}");
    }
}
