//! IPv6 and IPv4.

use super::*;

const BOTH: &[(&str, &str)] = &[("example.com", "::1"), ("example.com", "127.0.0.1")];

/// What the name looks like if these answer over IPv6 and over IPv4; `None` is nobody.
async fn over(ipv6: Option<String>, ipv4: Option<String>) -> Option<String> {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for (place, answer) in [("[::1]", ipv6), ("127.0.0.1", ipv4)] {
        if let Some(answer) = answer {
            scripted_at(&format!("{place}:{port}"), move |_, _| answer.clone()).await;
        }
    }
    let report = check(&clients_for(BOTH), &target("example.com", port), ready(Ok(Vec::new()))).await;
    let url = format!("http://example.com:{port}/.well-known/acme-challenge/tok-en_1 ");
    report.failure().map(|failure| failure.strip_prefix(&url).unwrap().to_owned())
}

#[tokio::test]
async fn ipv6_and_ipv4_are_asked_and_told_each() {
    let leads = "(the name leads to 127.0.0.1 and ::1)";
    let (key, other) = (|| Some(ok(KEY)), || Some(not_found()));
    assert_eq!(over(key(), key()).await, None);
    assert_eq!(over(key(), None).await, None, "CAs ask over IPv6");
    assert_eq!(over(key(), other()).await, None);
    assert_eq!(over(None, key()).await, None, "CAs fall back if there is no connection");
    let told = format!("answered 404 where the key was expected over IPv6; over IPv4 the key comes back {leads}");
    assert_eq!(over(other(), key()).await, Some(told));
    let told =
        format!("answered 404 where the key was expected over IPv6; over IPv4 it refused the connection {leads}");
    assert_eq!(over(other(), None).await, Some(told));
    assert_eq!(over(None, None).await, Some(format!("refused the connection over IPv6 and IPv4 {leads}")));
}

#[tokio::test]
async fn a_name_may_have_addresses_of_one_family_only() {
    let port = scripted_at("[::1]:0", |_, _| ok(KEY)).await;
    let clients = clients_for(&[("example.com", "::1")]);
    assert!(check(&clients, &target("example.com", port), ready(Ok(Vec::new()))).await.passed());
    let nowhere = check(&clients, &target("www.example.com", port), ready(Ok(Vec::new()))).await;
    assert_eq!(nowhere.public.problem(), Some(&Problem::NameNotFound));
}

#[tokio::test]
async fn many_addresses_are_not_told() {
    let clients =
        clients_for(&[("example.com", "127.0.0.1"), ("example.com", "127.0.0.2"), ("example.com", "127.0.0.3")]);
    let report = check(&clients, &target("example.com", 1), ready(Ok(Vec::new()))).await;
    assert!(report.failure().unwrap().ends_with("refused the connection"), "{report:?}");
}
