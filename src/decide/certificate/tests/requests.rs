//! The CertificateRequests of a Certificate, its own and those of others.

use super::*;

#[test]
fn what_is_on_its_way_out_is_waited_for() {
    let mut scene = Scene::new();
    scene.run();
    let request = Arc::new(dying(&*scene.requests[0]));
    scene.requests = vec![request];
    assert_eq!(scene.decide(), Decision::rest(), "its name is still taken");

    let mut scene = Scene::new();
    scene.run();
    scene.requests.clear();
    scene.next_keys = vec![Arc::new(dying(&*scene.next_keys[0]))];
    assert_eq!(scene.decide(), Decision::rest());

    let mut scene = Scene::issued();
    scene.certificate = dying(&scene.certificate);
    scene.secret = None;
    assert_eq!(scene.decide(), Decision::rest(), "the owner references do the rest");
}

#[test]
fn a_request_of_somebody_else_in_the_way() {
    let mut scene = Scene::new();
    scene.step();
    scene.step();
    scene.namesake = Some(object(json!({"metadata": {"name": "web-1", "uid": "other"}, "spec": {}})));
    assert_eq!(scene.run(), (strings(&["WriteStatus", "Publish"]), Some(60)));
    let text = "held up: the CertificateRequest \"web-1\" does not belong to this Certificate; delete it";
    assert_eq!(scene.conditions()[0], format!("Issuing=True DoesNotExist: {ISSUING}; {text}"));
    scene.namesake = None;
    assert_eq!(scene.run().0, ["WriteStatus", "CreateRequest", "Publish"]);
    assert_eq!(scene.conditions()[0], format!("Issuing=True DoesNotExist: {ISSUING}"));
}

#[test]
fn an_own_request_with_a_lost_revision_makes_room() {
    let mut scene = Scene::new();
    scene.run();
    Arc::make_mut(&mut scene.requests[0]).annotations_mut().remove(annotation::CERTIFICATE_REVISION);
    assert_eq!(scene.run().0, ["DeleteRequest", "CreateRequest", "Publish"]);
}

/// As where an admission webhook changes each request.
#[test]
fn a_request_that_is_never_as_it_was_made_is_not_made_without_end() {
    let mut scene = Scene::new();
    scene.spec(|spec| spec.duration = Some("2160h".into()));
    let pass = |scene: &mut Scene| {
        let done = scene.run().0;
        Arc::make_mut(scene.requests.last_mut().unwrap()).spec.duration = Some("24h".into());
        done
    };
    pass(&mut scene);
    let anew = ["DeleteRequest", "CreateRequest", "Publish"];
    assert_eq!((pass(&mut scene), pass(&mut scene)), (strings(&anew), strings(&anew)));

    assert_eq!(scene.run(), (strings(&["WriteStatus", "Publish"]), Some(1)));
    let text = "held up: the CertificateRequest \"web-1\" is again and again not as it was made: it does not follow \
                [spec.duration]; look for what changes it, such as an admission webhook; next try after 1 s";
    assert_eq!(scene.conditions()[0], format!("Issuing=True DoesNotExist: {ISSUING}; {text}"));
    assert_eq!(scene.requests.len(), 1, "it can be looked at");
    scene.now = at(1);
    assert_eq!(kinds(&scene.decide()), anew, "trying again is no news");
    pass(&mut scene);
    assert_eq!(scene.run().1, Some(6), "one second after the start, then five more");

    scene.spec(|spec| spec.duration = Some("24h".into()));
    scene.run();
    assert_eq!(scene.conditions()[0], format!("Issuing=True DoesNotExist: {ISSUING}"));
    scene.answer();
    scene.run();
    assert_eq!((scene.conditions(), scene.made_request.is_none()), (strings(&[READY]), true));
}

#[test]
fn history_keeps_the_current_request_and_so_many_before() {
    let numbered = |revision: i64| {
        Arc::new(object::<CertificateRequest>(json!({
            "metadata": {
                "name": format!("web-{revision}"), "uid": format!("uid-{revision}"),
                "annotations": {"cert-manager.io/certificate-revision": revision.to_string()},
            },
            "spec": {},
        })))
    };
    for (limit, left) in
        [(None, vec!["web-1", "web-2"]), (Some(2), vec!["web-1", "web-2", "web-0"]), (Some(-3), vec!["web-1", "web-2"])]
    {
        let mut scene = Scene::issued();
        scene.spec(|spec| spec.revision_history_limit = limit);
        // A later one that failed, after the spec was changed back to what is there.
        scene.requests.extend([numbered(2), numbered(-1), numbered(0)]);
        scene.run();
        assert_eq!(crate::decide::testing::named(scene.requests.iter().map(AsRef::as_ref)), left);
    }
}

#[test]
fn a_status_that_was_lost_costs_no_certificate() {
    let mut scene = Scene::issued();
    scene.certificate.status = None;
    let (done, wake) = scene.run();
    assert_eq!((done, wake), (strings(&["WriteStatus"]), Some(60 * DAY)));
    scene.now = at(60 * DAY);
    scene.run();
    let names = crate::decide::testing::named(scene.requests.iter().map(AsRef::as_ref));
    assert_eq!(names, ["web-1", "web-2"], "the revision was found again");
    scene.answer();
    scene.run();
    assert_eq!(scene.status().not_after, Some(Time(at(150 * DAY))));
}

#[test]
fn an_answer_that_was_no_good_is_not_taken_again() {
    let mut scene = Scene::issued();
    scene.spec(|spec| spec.private_key.as_mut().unwrap().rotation_policy = Some("Never".into()));
    scene.certificate.status = None;
    *scene.data("tls.crt") = chain(key(0), &["www.example.com"], 0, 80 * DAY).into_bytes();
    scene.now = at(91 * DAY);
    assert!(scene.run().0.contains(&"DeleteRequest".to_owned()), "the key is the same, but the answer has expired");
    assert_eq!(scene.requests[0].status, None);
}
