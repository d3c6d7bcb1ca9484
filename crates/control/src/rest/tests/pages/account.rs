//! `/account`: what one sees of oneself, and ends.

use model::KeyRole;

use super::browser::Browser;
use super::{House, PASSWORD, person};

#[tokio::test]
async fn a_person_sees_and_ends_their_own_sessions_and_nobody_elses() {
    let house = House::open().await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    let mut second = Browser::new(&house);
    second.get("/signin").await;
    second.submit("/signin", &[("tenant", "acme"), ("login", "ann"), ("password", PASSWORD)]).await;
    let mut bob = person(&house, "bob", KeyRole::User).await;
    let page = ann.get("/account").await;
    for shown in ["acme", ">ann<", "user", "none", "this browser", "by password", "No app may call in your name"] {
        assert!(page.text.contains(shown), "{shown}: {}", page.text);
    }
    assert_eq!(page.text.matches("/account/sessions/").count(), 2);
    assert_eq!(page.text.matches("this browser</span>").count(), 1);
    let ends: Vec<String> = page
        .text
        .split("action=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .filter(|path| path.contains("/sessions/"))
        .collect();
    bob.get("/account").await;
    for path in &ends {
        assert_eq!(bob.submit(path, &[]).await.status, 404, "another's looks like none");
    }
    assert_eq!(bob.submit("/account/sessions/nonsense/end", &[]).await.status, 404);
    // The newest comes first: the second browser's.
    assert_eq!(ann.submit(&ends[0], &[]).await.header("location"), "/account");
    assert!(!second.is_signed_in().await && ann.is_signed_in().await && bob.is_signed_in().await);
    let out = ann.submit(&ends[1], &[]).await;
    assert_eq!((out.status.as_u16(), out.header("location")), (303, "/signin"));
    assert!(ann.session().is_none() && !ann.is_signed_in().await && bob.is_signed_in().await);
}

#[tokio::test]
async fn signing_out_ends_the_session_in_the_database() {
    let house = House::open().await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    let mut kept = ann.copy();
    ann.get("/account").await;
    let out = ann.submit("/signout", &[]).await;
    assert_eq!((out.status.as_u16(), out.header("location")), (303, "/signin"));
    assert!(ann.session().is_none());
    assert!(!kept.is_signed_in().await, "whoever has the old cookie has nothing");
    let sent = ann.submit("/signout", &[]).await;
    assert_eq!((sent.status.as_u16(), sent.header("location")), (303, "/signin?return=%2Faccount"));
}
