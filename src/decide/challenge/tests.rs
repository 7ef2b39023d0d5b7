#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::api::Condition;
use crate::{
    api::issuer::AcmeIssuer,
    decide::testing::{acme, at, dying, kinds, now, object, ready, trouble},
};

const PROPAGATION: &str = "Waiting for DNS-01 challenge propagation";

/// What surrounds one Challenge.
struct Scene {
    challenge: Challenge,
    issuer: Condition,
    acme: AcmeIssuer,
    has_open_siblings: bool,
    awaited_until: Option<Timestamp>,
    queued: Option<Queued>,
    taken: Option<Taken>,
    presented: Option<Timestamp>,
    check: Option<Check>,
    ca: Option<CaChallenge>,
    was_asked_here: bool,
    clean_up: CleanUp,
    pending: Option<Pending>,
    trouble: Option<Trouble>,
    is_leaving: bool,
    now: Timestamp,
}

impl Scene {
    fn new() -> Self {
        let challenge = object(json!({
            "metadata": {
                "name": "web-1-7-9", "namespace": "shop", "uid": "u", "finalizers": ["acme.cert-manager.io/finalizer"],
            },
            "spec": {
                "url": "ca/challenge", "authorizationURL": "ca/authorization", "dnsName": "example.com",
                "type": "DNS-01", "token": "tok", "key": "key", "solver": {"dns01": {}}, "issuerRef": {"name": "le"},
            },
        }));
        Self {
            challenge,
            issuer: ready("True", ""),
            acme: acme(),
            has_open_siblings: false,
            awaited_until: None,
            queued: None,
            taken: None,
            presented: None,
            check: None,
            ca: None,
            was_asked_here: true,
            clean_up: CleanUp::Untried,
            pending: None,
            trouble: None,
            is_leaving: false,
            now: now(),
        }
    }

    /// Presented by this process, which knows that the CA has not been told.
    fn presented() -> Self {
        let mut scene = Self::new();
        scene.step();
        scene.presented = Some(scene.now);
        scene.ca("pending", 600);
        scene
    }

    /// The same with this outcome.
    fn ended(state: &str) -> Self {
        let mut scene = Self::presented();
        scene.ca(state, 600).problem = Some("it was not there".into());
        scene.step();
        scene
    }

    fn decide_with(&self, issuer: SeenIssuerOf<'_>) -> Decision<ChallengeStep> {
        let seen = SeenChallenge {
            challenge: &self.challenge,
            issuer,
            has_open_siblings: self.has_open_siblings,
            awaited_until: self.awaited_until,
            queued: self.queued.as_ref(),
            taken: self.taken.as_ref(),
            presented: self.presented,
            check: self.check.as_ref(),
            ca: self.ca.as_ref(),
            was_asked_here: self.was_asked_here,
            clean_up: self.clean_up,
            pending: self.pending.as_ref(),
            trouble: self.trouble.as_ref(),
        };
        if self.is_leaving { withdraw(&seen, self.now) } else { decide(&seen, self.now) }
    }

    fn decide(&self) -> Decision<ChallengeStep> {
        self.decide_with(SeenIssuerOf::Acme { ready: Some(&self.issuer), acme: &self.acme })
    }

    fn step(&mut self) -> Vec<String> {
        let decision = self.decide();
        let kinds = kinds(&decision);
        for step in decision.steps {
            match step {
                ChallengeStep::WriteStatus(status) => {
                    assert_ne!(self.challenge.status.as_ref(), Some(&*status), "an equal status is written");
                    self.challenge.status = Some(*status);
                }
                ChallengeStep::AddFinalizer => self.challenge.finalizers_mut().push(finalizer::CHALLENGE.to_owned()),
                ChallengeStep::RemoveFinalizer => self.challenge.finalizers_mut().clear(),
                _ => {}
            }
        }
        kinds
    }

    fn ca(&mut self, status: &str, next_look: i64) -> &mut CaChallenge {
        let next_look = at(next_look);
        self.ca.insert(CaChallenge { status: status.to_owned(), accepted: false, problem: None, next_look })
    }

    fn checked(&mut self, passed: bool, next: i64) {
        self.check = Some(Check { passed, summary: "ns1 has nothing".to_owned(), next: at(next), is_lost: false });
    }

    fn told(&self) -> (String, String) {
        let status = self.challenge.status.clone().unwrap_or_default();
        (status.state.unwrap_or_default(), status.reason.unwrap_or_default())
    }

    fn flags(&self) -> (bool, bool) {
        let status = self.challenge.status.clone().unwrap_or_default();
        (status.processing, status.presented)
    }
}

#[test]
fn another_value_of_the_record_is_waited_for_before_anybody_looks() {
    let mut scene = Scene::presented();
    scene.awaited_until = Some(at(30));
    assert_eq!(scene.decide(), Decision::rest_until(at(30)));
    scene.now = at(30);
    assert_eq!(kinds(&scene.decide()), ["SelfCheck"]);
    (scene.now, scene.awaited_until) = (at(1), None);
    assert_eq!(kinds(&scene.decide()), ["SelfCheck"]);
}

#[test]
fn presented_checked_accepted_valid_cleaned_up() {
    let mut scene = Scene::new();
    assert_eq!(scene.step(), ["Present", "WriteStatus", "Publish"]);
    assert_eq!(scene.told(), ("pending".to_owned(), PROPAGATION.to_owned()));
    assert_eq!(scene.flags(), (true, true));
    assert_eq!(scene.challenge.status.as_ref().unwrap().presented_at, Some(Time(now())));

    scene.ca("pending", 600);
    assert_eq!(kinds(&scene.decide()), ["SelfCheck"]);
    scene.checked(true, 0);
    assert_eq!(kinds(&scene.decide()), ["Accept"]);
    scene.ca("pending", 3).accepted = true;
    assert_eq!(scene.decide(), Decision::rest_until(at(3)));
    scene.now = at(3);
    assert_eq!(scene.decide(), Decision::act(vec![ChallengeStep::Read]));

    scene.ca("valid", 600);
    assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
    assert_eq!(scene.told(), ("valid".to_owned(), "Successfully authorized domain".to_owned()));
    assert_eq!(scene.step(), ["CleanUp"]);
    scene.clean_up = CleanUp::Done;
    assert_eq!(scene.step(), ["RemoveFinalizer"], "the Order deletes it: nobody reads its status any more");
    assert_eq!(scene.decide(), Decision::rest());
}

#[test]
fn a_challenge_without_a_finalizer_gets_one_before_anything_is_presented() {
    let mut scene = Scene::new();
    scene.challenge.metadata.finalizers = None;
    assert_eq!(scene.step(), ["AddFinalizer"]);
    assert_eq!(kinds(&scene.decide())[0], "Present");
    scene.challenge.metadata.finalizers = Some(vec!["finalizer.acme.cert-manager.io".into()]);
    assert_eq!(kinds(&scene.decide())[0], "Present", "cert-manager's former one is as good");
}

#[test]
fn a_check_that_fails_is_told_of_only_after_a_while() {
    let mut scene = Scene::presented();
    scene.checked(false, 1);
    assert_eq!(scene.decide(), Decision::rest_until(at(1)));
    scene.now = at(1);
    assert_eq!(kinds(&scene.decide()), ["SelfCheck"]);
    scene.now = at(6);
    scene.checked(false, 7);
    assert_eq!(scene.step(), ["WriteStatus"]);
    assert_eq!(scene.told().1, format!("{PROPAGATION}: ns1 has nothing"));
    assert_eq!(scene.decide(), Decision::rest_until(at(7)), "told once");
    scene.now = at(601);
    scene.checked(false, 700);
    assert_eq!(kinds(&scene.decide()), ["Read"], "the CA may have given up meanwhile");
}

#[test]
fn what_was_told_of_the_check_is_taken_back_once_it_passed() {
    let mut scene = Scene::presented();
    scene.now = at(6);
    scene.checked(false, 7);
    scene.step();
    scene.checked(true, 8);
    scene.ca("pending", 9).accepted = true;
    assert_eq!(scene.step(), ["WriteStatus"]);
    assert_eq!(scene.told().1, PROPAGATION);
    assert_eq!(scene.decide(), Decision::rest_until(at(9)));
}

#[test]
fn a_wait_may_take_the_place_of_the_check() {
    let mut scene = Scene::presented();
    scene.challenge.spec.solver.wait_instead_of_self_check = Some("20s".into());
    assert_eq!(scene.decide().wake, crate::decide::Wake::At(at(20)));
    assert_eq!(scene.step(), ["WriteStatus"]);
    assert_eq!(scene.told().1, "Waiting 20 s before accepting the challenge, as the solver asks");
    scene.now = at(20);
    assert_eq!(kinds(&scene.decide()), ["Accept"]);
    for odd in ["-5s", "0s"] {
        scene.challenge.spec.solver.wait_instead_of_self_check = Some(odd.into());
        assert_eq!(kinds(&scene.decide()), ["Accept"]);
    }
    scene.challenge.spec.solver.wait_instead_of_self_check = Some("2562047h".into());
    assert_eq!(scene.decide().wake, crate::decide::Wake::At(at(600)), "not without looking at the CA");
    scene.challenge.spec.solver.wait_instead_of_self_check = Some("a while".into());
    assert_eq!(kinds(&scene.decide()), ["SelfCheck"]);
}

#[test]
fn what_a_former_process_presented_may_be_a_second_younger_than_noted() {
    let mut scene = Scene::presented();
    scene.presented = None;
    scene.challenge.spec.solver.wait_instead_of_self_check = Some("20s".into());
    assert_eq!(scene.decide().wake, crate::decide::Wake::At(at(21)));
    scene.step();
    assert_eq!(scene.told().1, "Waiting 20 s before accepting the challenge, as the solver asks");
}

#[test]
fn a_new_process_asks_the_ca_first() {
    let mut scene = Scene::presented();
    scene.ca = None;
    scene.checked(true, 0);
    assert_eq!(scene.decide(), Decision::act(vec![ChallengeStep::Read]));
    scene.ca("valid", 600);
    scene.step();
    assert_eq!(scene.told().0, "valid");
}

#[test]
fn what_the_ca_refused() {
    for state in ["invalid", "expired"] {
        let mut scene = Scene::ended(state);
        assert_eq!(scene.told(), (state.to_owned(), "Error accepting authorization: it was not there".to_owned()));
        assert_eq!(scene.flags(), (false, true));
        assert_eq!(scene.step(), ["CleanUp"]);
        scene.clean_up = CleanUp::Done;
        assert_eq!(scene.step(), ["WriteStatus", "RemoveFinalizer"]);
        assert_eq!(scene.flags(), (false, false));
        assert_eq!(scene.decide(), Decision::rest());
    }
    let mut silent = Scene::presented();
    silent.ca("invalid", 600);
    silent.step();
    assert_eq!(silent.told().1, "Error accepting authorization: the CA gave no reason");
}

#[test]
fn a_valid_one_among_open_ones_tells_that_it_is_cleaned_up() {
    let mut scene = Scene::ended("valid");
    scene.has_open_siblings = true;
    scene.clean_up = CleanUp::Done;
    assert_eq!(scene.step(), ["WriteStatus", "RemoveFinalizer"]);
}

#[test]
fn trouble_while_presenting() {
    let mut scene = Scene::new();
    scene.trouble = Some(trouble(TroubleClass::Transient, 2));
    assert_eq!(scene.step(), ["WriteStatus"]);
    let (state, reason) = scene.told();
    assert_eq!(state, "pending", "as the CA has it");
    assert_eq!(reason, "Failed to try: the other side was out; next try after 5 s");
    assert_eq!(scene.decide(), Decision::rest_until(at(5)));
    scene.now = at(5);
    assert_eq!(kinds(&scene.decide())[0], "Present");

    scene.trouble = Some(trouble(TroubleClass::Final, 1));
    assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
    assert_eq!(scene.told(), ("errored".to_owned(), "Failed to try: the other side was out".to_owned()));
    assert_eq!(scene.step(), ["CleanUp"], "a part may have been presented");
    scene.clean_up = CleanUp::Tried;
    assert_eq!(scene.step(), ["RemoveFinalizer"], "what can never be cleaned up was never presented");
}

#[test]
fn a_clean_up_that_fails_is_tried_again_and_given_up_in_the_end() {
    let mut scene = Scene::ended("invalid");
    let outcome = scene.told().1;
    scene.trouble = Some(trouble(TroubleClass::Transient, 5));
    assert_eq!(kinds(&scene.decide()), ["CleanUp"], "former trouble has nothing to do with it");
    scene.clean_up = CleanUp::Tried;
    scene.trouble = Some(trouble(TroubleClass::Transient, 1));
    assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
    let told = format!("{outcome}; error cleaning up: Failed to try: the other side was out; tried up to 8 times");
    assert_eq!(scene.told(), ("invalid".to_owned(), told.clone()));
    assert_eq!(scene.decide(), Decision::rest_until(at(1)), "told once");
    scene.trouble.as_mut().unwrap().failures = 7;
    assert_eq!(scene.decide(), Decision::rest_until(at(300)));
    scene.now = at(300);
    assert_eq!(kinds(&scene.decide()), ["CleanUp"]);

    scene.trouble.as_mut().unwrap().failures = 8;
    let steps = scene.decide().steps;
    let text = "Gave up cleaning up; please remove what is left: Failed to try: the other side was out";
    assert_eq!(steps.last(), Some(&ChallengeStep::Publish(Note::warning("CleanUpError", text))));
    assert_eq!(scene.step(), ["WriteStatus", "RemoveFinalizer", "Publish"]);
    assert_eq!((scene.flags(), scene.told().1), ((false, false), told));
}

#[test]
fn a_deleted_challenge_is_cleaned_up_whatever_its_state_and_issuer() {
    let scenes: [fn() -> Scene; 4] =
        [Scene::new, Scene::presented, || Scene::ended("valid"), || Scene::ended("invalid")];
    for make in scenes {
        let mut scene = make();
        scene.challenge = dying(&scene.challenge);
        for issuer in [SeenIssuerOf::Missing, SeenIssuerOf::Foreign, SeenIssuerOf::Unserved("")] {
            scene.clean_up = CleanUp::Untried;
            assert_eq!(scene.decide_with(issuer), Decision::act(vec![ChallengeStep::CleanUp]));
            scene.clean_up = CleanUp::Done;
            assert_eq!(scene.decide_with(issuer), Decision::act(vec![ChallengeStep::RemoveFinalizer]));
        }
        scene.challenge.finalizers_mut().clear();
        assert_eq!(scene.decide(), Decision::rest());
    }
}

/// Or a made-up Challenge could have an issuer's credentials sent to a server of its author's, by being deleted.
#[test]
fn a_refused_challenge_that_was_never_presented_is_let_go() {
    let mut scene = Scene::new();
    let refused = SeenIssuerOf::Refused("not for you");
    assert_eq!(kinds(&scene.decide_with(refused)), ["WriteStatus"], "it says why");
    scene.challenge = dying(&scene.challenge);
    assert_eq!(scene.decide_with(refused), Decision::act(vec![ChallengeStep::RemoveFinalizer]));
    let mut scene = Scene::presented();
    scene.challenge = dying(&scene.challenge);
    assert_eq!(scene.decide_with(refused), Decision::act(vec![ChallengeStep::CleanUp]));
}

#[test]
fn without_a_usable_issuer_it_says_so_and_waits() {
    let (acme, sleeping) = (acme(), ready("False", "it sleeps"));
    for (issuer, text) in [
        (SeenIssuerOf::Missing, "Waiting for Issuer \"le\", which does not exist"),
        (SeenIssuerOf::Unserved("not of this world"), "not of this world"),
        (SeenIssuerOf::Foreign, "Issuer \"le\" is no ACME issuer of the group cert-manager.io"),
        (SeenIssuerOf::Acme { ready: Some(&sleeping), acme: &acme }, "Waiting for Issuer \"le\": it sleeps"),
        (SeenIssuerOf::Acme { ready: None, acme: &acme }, "Waiting for Issuer \"le\": it was not looked at yet"),
    ] {
        let mut scene = Scene::presented();
        let steps = scene.decide_with(issuer).steps;
        let [ChallengeStep::WriteStatus(status)] = &steps[..] else { panic!("{steps:?}") };
        assert_eq!(status.reason.as_deref(), Some(text));
        scene.challenge.status = Some((**status).clone());
        assert_eq!(scene.decide_with(issuer), Decision::rest());
    }
}

#[test]
fn it_waits_for_its_turn_and_tells_for_whom() {
    let mut scene = Scene::new();
    scene.taken = Some(Taken { by: "shop/other".into(), until: at(600) });
    assert_eq!(scene.step(), ["WriteStatus"]);
    let reason = scene.challenge.status.as_ref().and_then(|status| status.reason.clone());
    assert_eq!(
        reason.as_deref(),
        Some("Waiting for Challenge shop/other, which answers for the same name for 10 min at the longest")
    );
    assert_eq!(scene.decide(), Decision::rest_until(at(600)));
    scene.taken = None;
    assert_eq!(scene.step(), ["Present", "WriteStatus", "Publish"]);
    // Once presented it goes on, whatever others do.
    scene.taken = Some(Taken { by: "shop/other".into(), until: at(600) });
    scene.ca("pending", 600);
    assert_eq!(scene.step(), ["SelfCheck"]);
}

#[test]
fn it_waits_for_a_place_and_tells_only_of_a_long_wait() {
    let mut scene = Scene::new();
    let queued = Queued { since: now(), most: 60 };
    scene.queued = Some(queued.clone());
    assert_eq!(scene.decide(), Decision::rest_until(at(30)));
    scene.now = at(30);
    assert_eq!(scene.step(), ["WriteStatus"]);
    assert_eq!(scene.told().1, queued.sentence());
    assert!(is_usual(&scene.challenge), "nobody else has to hear of it");
    assert_eq!(scene.decide(), Decision::rest_until(at(330)), "told once");
    scene.queued = None;
    assert_eq!(scene.step(), ["Present", "WriteStatus", "Publish"]);
    assert_eq!(scene.told().1, PROPAGATION);
}

#[test]
fn who_failed_before_goes_on_telling_why_while_it_waits_for_a_place() {
    let mut scene = Scene::new();
    scene.trouble = Some(trouble(TroubleClass::Transient, 1));
    scene.step();
    let told = scene.told().1;
    scene.queued = Some(Queued { since: at(1), most: 60 });
    scene.now = at(100);
    assert_eq!(scene.decide(), Decision::rest_until(at(400)));
    assert!(told.contains("the other side was out"), "{told}");
}

#[test]
fn what_holds_a_challenge_up_needs_no_place() {
    let scene = Scene::new();
    let issuer = || SeenIssuerOf::Acme { ready: Some(&scene.issuer), acme: &scene.acme };
    let once = trouble(TroubleClass::Transient, 1);
    for (issuer, trouble, seconds, expected) in [
        (issuer(), None, 0, true),
        (issuer(), Some(&once), 0, false),
        (issuer(), Some(&once), 1, true),
        (issuer(), Some(&trouble(TroubleClass::Final, 1)), 9, false),
        (SeenIssuerOf::Missing, None, 0, false),
    ] {
        assert_eq!(may_go(&scene.challenge, issuer, trouble, at(seconds)), expected, "{trouble:?} {seconds}");
    }
}

fn pending(removes: bool) -> Pending {
    Pending { since: now(), removes, reason: "Waiting for the DNS provider of the zone example.com".into() }
}

#[test]
fn a_change_that_is_under_way_is_told_of_only_when_it_takes_long() {
    let mut scene = Scene::new();
    scene.pending = Some(pending(false));
    assert_eq!(scene.decide(), Decision::rest_until(at(5)));
    scene.now = at(5);
    assert_eq!(scene.step(), ["WriteStatus"]);
    assert_eq!(scene.told().1, "Waiting for the DNS provider of the zone example.com");
    assert_eq!(scene.decide(), Decision::rest_until(at(65)), "told once");
    scene.pending = None;
    assert_eq!(scene.step(), ["Present", "WriteStatus", "Publish"]);
    assert_eq!(scene.told().1, PROPAGATION);
}

#[test]
fn a_removal_that_is_under_way_is_waited_for_and_an_addition_is_taken_back() {
    let mut scene = Scene::ended("valid");
    scene.pending = Some(pending(true));
    assert_eq!(scene.decide(), Decision::rest_until(at(60)));
    scene.pending = Some(pending(false));
    assert_eq!(kinds(&scene.decide()), ["CleanUp"]);
}

#[test]
fn who_leaves_takes_back_what_is_open_and_leaves_it_to_the_next() {
    let mut scene = Scene::presented();
    scene.is_leaving = true;
    assert_eq!(scene.step(), ["CleanUp"]);
    scene.clean_up = CleanUp::Done;
    assert_eq!(scene.step(), ["WriteStatus", "RemoveFinalizer"]);
    let status = scene.challenge.status.clone().unwrap();
    assert_eq!((status.presented, status.processing, status.presented_at), (false, false, None));
    assert_eq!((status.state.as_deref(), status.reason.as_deref()), (Some("pending"), Some(WITHDRAWN)));
    assert_eq!(scene.step(), Vec::<String>::new());

    // The next one begins with it again.
    scene.is_leaving = false;
    (scene.ca, scene.clean_up) = (None, CleanUp::Untried);
    assert_eq!(scene.step(), ["AddFinalizer"]);
    assert_eq!(scene.step()[..2], ["Present", "WriteStatus"]);
}

#[test]
fn who_leaves_begins_nothing() {
    let mut scene = Scene::new();
    scene.challenge.metadata.finalizers = None;
    scene.is_leaving = true;
    assert_eq!(scene.step(), Vec::<String>::new());
}

/// Only who answers itself, and did not have the CA look, may be to blame.
#[test]
fn a_failure_while_the_controller_was_replaced_says_so() {
    let problem = "urn:ietf:params:acme:error:connection: EOF";
    for (solver, was_asked_here, problem, is_told) in [
        ("controller", false, problem, true),
        ("controller", true, problem, false),
        ("pod", false, problem, false),
        ("controller", false, "urn:ietf:params:acme:error:unauthorized: 404", false),
    ] {
        let mut scene = Scene::presented();
        scene.challenge.spec.type_ = "HTTP-01".to_owned();
        scene.challenge.annotations_mut().insert("certwright.dev/http01-solver".to_owned(), solver.to_owned());
        scene.was_asked_here = was_asked_here;
        scene.ca("invalid", 600).problem = Some(problem.to_owned());
        scene.step();
        let status = scene.challenge.status.unwrap();
        let remark = if is_told { interruption::INTERRUPTED } else { "" };
        assert_eq!(status.reason.unwrap(), format!("Error accepting authorization: {problem}{remark}"));
        assert_eq!(status.state.as_deref(), Some("invalid"), "what others read of it is as ever");
    }
}
