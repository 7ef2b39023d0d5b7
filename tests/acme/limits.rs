//! The gate in front of a CA that wants to be left alone, or is away: what it asks to be spared is not sent.

use std::time::Duration;

use certwright::acme::{AccountHandle, Error, Identifier, NewOrder, gate::Closed, limit::Scope};

use crate::{
    faults::{Server, acme, client, http},
    issuance::p256,
};

fn order(names: &[&str]) -> NewOrder {
    NewOrder { identifiers: names.iter().map(|name| Identifier::dns(*name)).collect(), ..NewOrder::default() }
}

fn limited(status: &str, retry_after: &str, detail: &str) -> Vec<u8> {
    let body = format!(r#"{{"type":"urn:ietf:params:acme:error:rateLimited","detail":"{detail}"}}"#);
    let headers = format!("content-type: application/problem+json\r\nreplay-nonce: n1\r\n{retry_after}");
    http(status, &headers, &body)
}

async fn closed(account: &AccountHandle, names: &[&str]) -> Closed {
    match account.new_order(&order(names)).await.unwrap_err() {
        Error::Limited(closed) => *closed,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_account_over_its_limit_is_silent_and_others_are_not() {
    let detail = "too many new orders (300) from this account in the last 3h0m0s, retry after later";
    let server = acme(move |_| limited("429 Too Many Requests", "retry-after: 3600\r\n", detail)).await;
    let client = server.client();
    let account = client.account(p256(), "https://ca.example/1");
    let first = closed(&account, &["a.example"]).await;
    assert_eq!((first.scope, first.wish), (Scope::Account, Some(Duration::from_hours(1))));
    let sent = server.requests();
    assert_eq!(closed(&account, &["b.example"]).await, first, "the same words until the same time");
    let error = account.order(&format!("{}/order/1", server.base)).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains(detail), "{error}");
    assert_eq!(server.requests(), sent);
    closed(&client.account(p256(), "https://ca.example/2"), &["a.example"]).await;
    assert!(server.requests() > sent);
}

#[tokio::test]
async fn a_limit_for_names_holds_only_who_orders_them() {
    let detail = "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s";
    let server = acme(move |_| limited("429 Too Many Requests", "retry-after: 3600\r\n", detail)).await;
    let account = server.client().account(p256(), "https://ca.example/1");
    assert_eq!(closed(&account, &["a.example", "b.example"]).await.scope, Scope::Names);
    let sent = server.requests();
    closed(&account, &["b.example", "a.example"]).await;
    assert_eq!(server.requests(), sent, "whatever their order");
    closed(&account, &["a.example"]).await;
    assert!(server.requests() > sent);
}

#[tokio::test]
async fn a_server_that_is_busy_hears_nothing_more() {
    for (answer, seconds) in [
        (http("503 Service Unavailable", "retry-after: 120\r\n", "<h1>sorry</h1>"), 120),
        (http("429 Too Many Requests", "retry-after: 60\r\n", "<title>429 Too Many Requests</title>"), 60),
        (
            http(
                "503 Service Unavailable",
                "date: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 08:50:17 GMT\r\n",
                "",
            ),
            40,
        ),
    ] {
        let server = acme(move |_| answer.clone()).await;
        let client = server.client();
        let first = closed(&client.account(p256(), "https://ca.example/1"), &["a.example"]).await;
        assert_eq!((first.scope, first.wish), (Scope::Ca, Some(Duration::from_secs(seconds))));
        let sent = server.requests();
        assert_eq!(closed(&client.account(p256(), "https://ca.example/2"), &["b.example"]).await, first);
        client.find_account(&p256()).await.unwrap_err();
        assert_eq!(server.requests(), sent);
    }
}

#[tokio::test]
async fn without_a_wish_it_is_left_alone_for_a_while() {
    let server = acme(|_| limited("429 Too Many Requests", "", "Service busy; retry later.")).await;
    let account = server.client().account(p256(), "https://ca.example/1");
    let first = closed(&account, &["a.example"]).await;
    assert_eq!((first.scope, first.wish), (Scope::Ca, None));
    let sent = server.requests();
    assert_eq!(closed(&account, &["b.example"]).await, first);
    assert_eq!(server.requests(), sent);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_asked_by_everybody() {
    let server = Server::start(|_, _, _| Vec::new()).await;
    let client = client(&format!("{}/dir", server.base));
    let error = client.directory().await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    let words = error.to_string();
    let error = client.directory().await.unwrap_err();
    assert!(matches!(error, Error::Limited(_)), "{error:?}");
    let sent = server.requests();
    let error = client.directory().await.unwrap_err();
    assert!(
        matches!(&error, Error::Limited(closed) if closed.scope == Scope::Ca && closed.wish.is_none()),
        "{error:?}"
    );
    assert_eq!(error.to_string(), words, "in the words of what went wrong");
    assert_eq!(server.requests(), sent);
}

#[tokio::test]
async fn refusals_for_other_reasons_close_nothing() {
    let server = acme(|_| {
        let body = r#"{"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"not this one"}"#;
        http("403 Forbidden", "replay-nonce: n1\r\nretry-after: 3600\r\n", body)
    })
    .await;
    let account = server.client().account(p256(), "https://ca.example/1");
    for number in 1..4 {
        let error = account.new_order(&order(&["a.example"])).await.unwrap_err();
        assert!(matches!(error, Error::Problem { .. }), "{number}: {error:?}");
    }
}
