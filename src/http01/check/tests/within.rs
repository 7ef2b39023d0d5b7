//! The way within the cluster.

use super::*;

/// The place within the cluster that tests lead to.
fn way(port: u16) -> Vec<Way> {
    vec![Way { address: [127, 0, 0, 2].into(), port, name: "the Service edge/envoy".into() }]
}

/// A port at which nobody listens at 127.0.0.1, but this at 127.0.0.2.
async fn only_within(script: impl Fn(&str, u16) -> String + Send + 'static) -> u16 {
    scripted_at("127.0.0.2:0", script).await
}

async fn within(domain: &str, port: u16) -> CheckReport {
    let target = CheckTarget { solver_address: Some(solver(domain).await), ..target(domain, port) };
    check(&test_clients(), &target, ready(Ok(way(port)))).await
}

#[tokio::test]
async fn the_way_within_the_cluster_is_asked_for_the_name() {
    for domain in ["example.com", "127.0.0.1"] {
        let port = only_within(|path, _| if path.ends_with(TOKEN) { ok(KEY) } else { not_found() }).await;
        let report = within(domain, port).await;
        assert_eq!((report.solver, report.inside), (LayerResult::Passed, LayerResult::Passed), "{domain}");
        assert_eq!(report.public.problem(), Some(&Problem::Refused), "{domain}");
    }
    // It may redirect to TLS: the name is found at the same place.
    let port = only_within(
        |path, port| if path == "/next" { ok(KEY) } else { to(&format!("http://example.com:{port}/next")) },
    );
    assert_eq!(within("example.com", port.await).await.inside, LayerResult::Passed);
    // Or to another name, which is looked up as the public way does it.
    let port = only_within(
        |path, port| if path == "/next" { ok(KEY) } else { to(&format!("http://within.example:{port}/next")) },
    );
    let (port, hosts) = (port.await, &[("example.com", "127.0.0.1"), ("within.example", "127.0.0.2")]);
    let target = CheckTarget { solver_address: Some(solver("example.com").await), ..target("example.com", port) };
    assert_eq!(check(&clients_for(hosts), &target, ready(Ok(way(port)))).await.inside, LayerResult::Passed);
    let port = only_within(|_, _| not_found()).await;
    let expected = format!(
        "http://example.com:{port}/.well-known/acme-challenge/tok-en_1 refused the connection (the name leads to 127.0.0.1); \
         within the cluster the Service edge/envoy answered 404 where the key was expected; the solver itself answers with the key"
    );
    assert_eq!(within("example.com", port).await.failure(), Some(expected));
}

/// As an ingress controller behind a load balancer that speaks the PROXY protocol.
#[tokio::test]
async fn the_way_within_the_cluster_may_want_a_line_of_the_proxy_protocol() {
    for refusal in ["", "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"] {
        let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let head = read_head(&mut stream).await.to_ascii_lowercase();
                let (line, request) = head.split_once("\r\n").unwrap();
                let is_right = line.starts_with("proxy tcp4 127.0.0.")
                    && request.starts_with("get /.well-known/acme-challenge/tok-en_1 http/1.1\r\n")
                    && request.contains("host: example.com\r\n");
                let answer = if is_right { ok(KEY) } else { refusal.to_owned() };
                drop(stream.write_all(answer.as_bytes()).await);
            }
        });
        assert_eq!(within("example.com", port).await.inside, LayerResult::Passed, "{refusal:?}");
    }
}

#[tokio::test]
async fn one_clear_way_within_the_cluster_is_enough() {
    let port = only_within(|_, _| ok(KEY)).await;
    let dead = Way { address: [127, 0, 0, 3].into(), port, name: "the Ingress shop/web at 127.0.0.3".into() };
    let ways = [vec![dead.clone()], way(port)].concat();
    let target = CheckTarget { solver_address: Some(solver("example.com").await), ..target("example.com", port) };
    assert_eq!(check(&test_clients(), &target, ready(Ok(ways))).await.inside, LayerResult::Passed);
    let many = vec![dead; 2 * MAX_WAYS];
    let report = check(&test_clients(), &target, ready(Ok([many, way(port)].concat()))).await;
    assert_eq!(report.inside.problem(), Some(&Problem::Refused), "not all of an endless list are asked");
}

#[tokio::test]
async fn the_way_within_the_cluster_is_not_looked_for_without_need() {
    let nobody = async { panic!("there is no need to look for it") };
    let address = solver("example.com").await;
    let passes = CheckTarget { solver_address: Some(address), ..target("example.com", address.port()) };
    assert!(check(&test_clients(), &passes, nobody).await.passed());
    let nobody = async { panic!("without a solver it leads nowhere") };
    let silent = CheckTarget { solver_address: Some(([127, 0, 0, 3], 1).into()), ..target("example.com", 1) };
    assert_eq!(check(&test_clients(), &silent, nobody).await.inside, LayerResult::NotAsked);
}

/// What hairpin NAT looks like from inside: the packets are lost.
#[tokio::test]
async fn a_public_name_that_is_silent_is_not_waited_for_when_the_way_within_is_clear() {
    let port = only_within(|_, _| ok(KEY)).await;
    let _silent = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let report = within("example.com", port).await;
    assert_eq!((report.solver, report.inside), (LayerResult::Passed, LayerResult::Passed));
    assert_eq!(report.public.problem(), Some(&Problem::TimedOut(TIMEOUT / 5)));
}

/// The world asks at port 80, and a load balancer leads that to the listener's own.
#[tokio::test]
async fn a_listener_may_have_another_port_than_the_world_asks() {
    for domain in ["www.within.example", "127.0.0.1"] {
        let port = only_within(|path, _| if path.ends_with(TOKEN) { ok(KEY) } else { not_found() }).await;
        let target = CheckTarget { solver_address: Some(solver(domain).await), ..target(domain, 80) };
        let report = check(&clients_for(&[]), &target, ready(Ok(way(port)))).await;
        assert_eq!(report.inside, LayerResult::Passed, "{domain}");
    }
}

#[tokio::test]
async fn objects_that_lead_nowhere_are_told_and_not_asked() {
    let target = CheckTarget { solver_address: Some(solver("example.com").await), ..target("example.com", 1) };
    let shut = NoWay { place: "the Gateway edge/public".into(), why: "does not take the ListenerSet shop/web".into() };
    let report = check(&test_clients(), &target, ready(Err(shut))).await;
    assert!(matches!(report.inside.problem(), Some(Problem::NoWay(_))), "{:?}", report.inside);
    let told = report.failure().unwrap();
    assert!(
        told.contains("; within the cluster the Gateway edge/public does not take the ListenerSet shop/web; "),
        "{told}"
    );
}

/// As where neither the API server nor a name server answers.
#[tokio::test]
async fn a_way_that_takes_its_time_to_be_found_is_not_asked() {
    let solver_address = Some(solver("example.com").await);
    let target = CheckTarget { solver_address, timeout: Duration::from_secs(1), ..target("example.com", 1) };
    let report = timeout(10 * TIMEOUT, check(&test_clients(), &target, pending())).await.unwrap();
    assert_eq!((report.solver, report.inside), (LayerResult::Passed, LayerResult::NotAsked));
}
