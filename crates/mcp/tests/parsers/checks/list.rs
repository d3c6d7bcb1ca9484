//! Lists against serde_json: which are accepted, and that items keep their bytes and can be renamed.

use bytes::Bytes;
use mcp::{List, ListError, ListKind, MAX_DEPTH};

use super::reference::{Member, depth, elements, members, string, value};

/// Most items; small, so that it is met.
const LIMIT: usize = 5;

pub(crate) fn check(result: &[u8]) {
    for kind in ListKind::ALL {
        let list = List::parse(kind, &Bytes::copy_from_slice(result), LIMIT);
        let ought = read(kind, result);
        let (list, ought) = match (list, ought) {
            (Ok(list), Some(ought)) => (list, ought),
            (Err(_), None) => continue,
            (Ok(_), None) => panic!("{kind:?}: accepted and should not be"),
            (Err(ListError::TooMany { .. }), Some(ought)) => {
                panic!("{kind:?}: {} items are too many", ought.items.len())
            }
            (Err(error), Some(_)) => panic!("{kind:?}: refused and should not be: {error:?}"),
        };
        let items: Vec<_> = list.items.iter().map(|item| (&item.raw[..], item.key.to_string())).collect();
        let same: Vec<_> = ought.items.iter().map(|(raw, key)| (raw.as_bytes(), key.clone())).collect();
        assert_eq!(items, same, "{kind:?}");
        assert_eq!(list.next_cursor.as_deref(), ought.next_cursor.map(str::as_bytes), "{kind:?}");
        for item in &list.items {
            renamed(kind, item);
        }
    }
}

/// Only the key is another one.
fn renamed(kind: ListKind, item: &mcp::Item) {
    let mut out = Vec::new();
    item.renamed("new \"name\"", &mut out);
    let before = members(value(&item.raw).expect("an item is JSON"));
    let after = members(value(&out).expect("a renamed item is JSON"));
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.raw_name, after.raw_name);
        match before.name.as_deref() == Some(kind.key()) {
            true => assert_eq!(string(after.value).as_deref(), Some("new \"name\"")),
            false => assert_eq!(before.value, after.value),
        }
    }
}

struct Read<'a> {
    items: Vec<(&'a str, String)>,
    next_cursor: Option<&'a str>,
}

/// The one member of this name; `Err` if it stands twice or beside one in other letters.
fn one<'a>(members: &[Member<'a>], name: &str) -> Result<Option<&'a str>, ()> {
    let mut alike =
        members.iter().filter(|member| member.name.as_deref().is_some_and(|other| other.eq_ignore_ascii_case(name)));
    match (alike.next(), alike.next()) {
        (None, _) => Ok(None),
        (Some(member), None) if member.name.as_deref() == Some(name) => Ok(Some(member.value)),
        _ => Err(()),
    }
}

fn read(kind: ListKind, result: &[u8]) -> Option<Read<'_>> {
    let object = value(result).filter(|value| value.starts_with('{') && depth(value) <= MAX_DEPTH as usize)?;
    let members = members(object);
    let list = one(&members, kind.member()).ok()?.filter(|list| list.starts_with('['))?;
    let next_cursor = one(&members, "nextCursor").ok()?.filter(|cursor| cursor.starts_with('"'));
    let items = elements(list);
    if items.len() > LIMIT {
        return None;
    }
    let items = items.into_iter().map(|item| {
        let inner = item.starts_with('{').then(|| super::reference::members(item))?;
        Some((item, string(one(&inner, kind.key()).ok()??)?))
    });
    Some(Read { items: items.collect::<Option<_>>()?, next_cursor })
}
