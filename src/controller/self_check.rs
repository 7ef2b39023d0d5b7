//! The self-checks of HTTP-01 and TLS-ALPN-01 are made beside the passes. Of HTTP-01 the solver, the way within the cluster and the
//! public name are asked, and [`crate::decide::self_check`] says whether what came back is enough.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{
    Context,
    beside::Beside,
    memory::Memory,
    podless,
    presenter::solver_address,
    route::{self, Told},
    step_error::StepError,
    ways::Ways,
};
use crate::{
    api::Challenge,
    cluster::{Cluster, Key, Kind, ObjectName},
    decide::{
        backoff,
        self_check::{Addresses, Finding, Findings, Verdict},
    },
    http01::{
        check::{CheckReport, CheckTarget, LayerResult, Problem, check as ask},
        client::Clients,
    },
    tls_alpn01::check as tls_alpn01,
};

/// Rounds under way at once. Each has a few sockets.
const AT_ONCE: usize = 256;

/// For one round. Each question in it has a shorter time of its own.
const LONGEST_ROUND: Duration = Duration::from_mins(1);

/// The rounds under way, and the reports of those that are over, by Challenge.
pub(super) struct SelfChecks {
    clients: Clients,
    ways: Arc<Ways>,
    questions: Beside<(), CheckReport>,
    handshakes: Beside<(), tls_alpn01::CheckReport>,
}

impl SelfChecks {
    pub(super) fn new(cluster: Cluster, clients: Clients) -> Self {
        let questions = Beside::new(cluster.hub.clone(), AT_ONCE, LONGEST_ROUND);
        let handshakes = Beside::new(cluster.hub.clone(), AT_ONCE, LONGEST_ROUND);
        Self { ways: Arc::new(Ways::new(cluster, clients.clone())), clients, questions, handshakes }
    }

    /// The report of the HTTP-01 round that was begun for this Challenge, once. If there is none, a round is begun, and the error
    /// says that the Challenge is woken when it is over.
    fn take(&self, challenge: &Challenge, target: CheckTarget) -> Result<CheckReport, StepError> {
        taken(&self.questions, challenge, || {
            let (clients, ways, challenge) = (self.clients.clone(), self.ways.clone(), challenge.clone());
            async move { Box::pin(ask(&clients, &target, ways.of(&challenge))).await }
        })
    }

    /// The same of TLS-ALPN-01.
    pub(super) fn take_handshake(
        &self,
        challenge: &Challenge,
        target: tls_alpn01::CheckTarget,
    ) -> Result<tls_alpn01::CheckReport, StepError> {
        taken(&self.handshakes, challenge, || {
            let clients = self.clients.clone();
            async move { tls_alpn01::check(&clients, &target).await }
        })
    }

    /// The Challenge wants no report any more, or another one.
    pub(super) fn forget(&self, key: &Key) {
        self.questions.forget(key);
        self.handshakes.forget(key);
    }
}

fn taken<T, Round>(rounds: &Beside<(), T>, challenge: &Challenge, begin: impl FnOnce() -> Round) -> Result<T, StepError>
where
    T: Send + 'static,
    Round: Future<Output = T> + Send + 'static,
{
    let key = Key { kind: Kind::Challenge, object: ObjectName::of(challenge) };
    match rounds.outcome(&key, &())? {
        Some(Ok(report)) => Ok(report),
        Some(Err(unfinished)) => Err(StepError::transient(format!("Failed to check the solver: {unfinished}"))),
        None => Err(rounds.begin(&key, (), begin())),
    }
}

/// What the CA has to be spared for, in one stable sentence; nothing if it may look.
pub(super) async fn check(
    context: &Context,
    challenge: &Challenge,
    memory: &mut Memory,
) -> Result<Option<String>, StepError> {
    let address = match solver(context, challenge, memory).await? {
        Ok(address) => address,
        Err(why) => return Ok(Some(why)),
    };
    let target = CheckTarget::of(challenge, Some(address), context.solver.host_header.clone());
    let mut report = context.self_checks.take(challenge, target)?;
    leave_out_unsteady_addresses(&mut report, &mut memory.addresses);
    let verdict = findings(&report).verdict(since_solver(memory, &report, Timestamp::now()));
    let Some(failure) = report.failure() else { return Ok(None) };
    // What no Gateway takes the CA cannot find either, however long it is waited.
    let leads_there = report.solver != LayerResult::Passed || report.inside == LayerResult::Passed;
    let told = if leads_there { None } else { route::what_became_of_it(context, challenge).await? };
    let (obstacle, unanswered) = match told {
        Some(Told::MadeAgain(text) | Told::Rejected(text)) => (Some(text), None),
        Some(Told::Unanswered(text)) => (None, Some(text)),
        None => (None, None),
    };
    if verdict == Verdict::Enough && obstacle.is_none() {
        note_risk(challenge, &report);
        return Ok(None);
    }
    let is_explained = leads_there || obstacle.is_some() || matches!(report.inside.problem(), Some(Problem::NoWay(_)));
    let hint = if is_explained { None } else { unanswered.or_else(|| route::hint(context, challenge)) };
    let failure = hint.map_or_else(|| failure.clone(), |hint| format!("{failure}; {hint}"));
    let longest = context.options.check_retry_period;
    Ok(Some(sentence(&failure, obstacle.as_deref(), verdict, longest)))
}

/// Or the status would be written with each look.
fn leave_out_unsteady_addresses(report: &mut CheckReport, known: &mut Addresses) {
    if let LayerResult::Failed(public) = &mut report.public
        && !known.are_steady(&public.addresses)
    {
        public.addresses.clear();
    }
}

/// For whoever wonders why the CA was asked. The whole failure has the token in it.
fn note_risk(challenge: &Challenge, report: &CheckReport) {
    let problem = report.public.problem().map(ToString::to_string);
    let clear_within = report.inside == LayerResult::Passed;
    let dns_name = &challenge.spec.dns_name;
    tracing::info!(
        dns_name,
        problem,
        clear_within,
        "the CA is asked although the public name does not answer with the key"
    );
}

/// Where the solver can be asked, or why it cannot be yet.
async fn solver(
    context: &Context,
    challenge: &Challenge,
    memory: &mut Memory,
) -> Result<Result<SocketAddr, String>, StepError> {
    if !challenge.is_podless() {
        return solver_address(context, challenge).await;
    }
    let address = podless::reachable_address(context, challenge, memory.is_mine).await?;
    memory.is_mine = true;
    Ok(Ok(address))
}

/// Sees to it that the CA's question reaches this process, if it is to answer and a former one presented. Without a self-check
/// nobody else does.
pub(super) async fn take_over(context: &Context, challenge: &Challenge, memory: &mut Memory) -> Result<(), StepError> {
    if challenge.is_podless() && !memory.is_mine {
        podless::reachable_address(context, challenge, memory.is_mine).await?;
        memory.is_mine = true;
    }
    Ok(())
}

/// For how long the solver has answered, as far as this process knows.
fn since_solver(memory: &mut Memory, report: &CheckReport, now: Timestamp) -> SignedDuration {
    if report.solver != LayerResult::Passed {
        memory.solver_since = None;
        return SignedDuration::ZERO;
    }
    now.duration_since(*memory.solver_since.get_or_insert(now))
}

fn findings(report: &CheckReport) -> Findings {
    Findings { solver: finding(&report.solver), inside: finding(&report.inside), public: finding(&report.public) }
}

fn finding(layer: &LayerResult) -> Finding {
    match (layer, layer.problem()) {
        (LayerResult::Passed, _) => Finding::Passed,
        (_, None) => Finding::NotAsked,
        (_, Some(Problem::NameNotFound)) => Finding::NoSuchName,
        (_, Some(Problem::NoWay(_))) => Finding::NoWay,
        (_, Some(problem)) if problem.is_out_of_reach() => Finding::OutOfReach,
        _ => Finding::Otherwise,
    }
}

fn sentence(failure: &str, obstacle: Option<&str>, verdict: Verdict, longest: SignedDuration) -> String {
    let again = format!("asked again within {}", backoff::in_words(longest));
    let told = format!("asked by the controller, {failure}");
    match (obstacle, verdict) {
        (Some(obstacle), _) => format!("{told}; {obstacle}; {again}"),
        (None, Verdict::EnoughAfter(patience)) => {
            let patience = backoff::in_words(patience);
            format!("{told}; {again}, and {patience} after the solver first answered the CA is asked all the same")
        }
        (None, _) => format!("{told}; {again}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http01::check::CheckError;

    fn failed(place: &str, problem: Problem) -> LayerResult {
        LayerResult::Failed(CheckError {
            place: place.to_owned(),
            problem,
            elsewhere: String::new(),
            addresses: Vec::new(),
        })
    }

    fn report(solver: LayerResult, public: Problem) -> CheckReport {
        CheckReport { solver, inside: LayerResult::NotAsked, public: failed("http://a/", public) }
    }

    #[test]
    fn layers_are_told_apart_by_what_came_back() {
        for (problem, expected) in [
            (Problem::NameNotFound, Finding::NoSuchName),
            (Problem::LookupFailed, Finding::OutOfReach),
            (Problem::Refused, Finding::OutOfReach),
            (Problem::Closed, Finding::OutOfReach),
            (Problem::Status(404), Finding::Otherwise),
            (Problem::OtherBody, Finding::Otherwise),
            (Problem::RedirectLoop, Finding::Otherwise),
            (Problem::NoWay("does not exist".to_owned()), Finding::NoWay),
        ] {
            assert_eq!(finding(&failed("a", problem)), expected);
        }
        assert_eq!(finding(&LayerResult::NotAsked), Finding::NotAsked);
        assert_eq!(finding(&LayerResult::Passed), Finding::Passed);
    }

    #[test]
    fn the_solver_is_counted_on_from_its_first_answer_without_a_gap() {
        let mut memory = Memory::default();
        let at = |second| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
        let (answers, silent) = (LayerResult::Passed, failed("the solver pod", Problem::Refused));
        let seconds = |memory: &mut Memory, solver: &LayerResult, second| {
            since_solver(memory, &report(solver.clone(), Problem::Refused), at(second)).as_secs()
        };
        assert_eq!(seconds(&mut memory, &answers, 5), 0);
        assert_eq!(seconds(&mut memory, &answers, 9), 4);
        assert_eq!(seconds(&mut memory, &silent, 12), 0);
        assert_eq!(seconds(&mut memory, &answers, 20), 0);
    }

    #[test]
    fn addresses_that_go_round_are_not_told() {
        let mut known = Addresses::default();
        let mut told = |last: u8| {
            let mut report = report(LayerResult::Passed, Problem::Refused);
            if let LayerResult::Failed(public) = &mut report.public {
                public.addresses = vec![[192, 0, 2, last].into()];
            }
            leave_out_unsteady_addresses(&mut report, &mut known);
            report.failure().unwrap_or_default().contains("(the name leads to 192.0.2.")
        };
        assert_eq!(
            [1, 1, 2, 2, 3, 3, 4, 1, 1].map(&mut told),
            [true, true, true, true, true, true, false, false, false]
        );
    }

    #[test]
    fn the_sentence_says_what_was_asked_and_when_next() {
        let longest = SignedDuration::from_secs(10);
        let failure = report(LayerResult::Passed, Problem::Refused).failure().unwrap_or_default();
        let minute = Verdict::EnoughAfter(SignedDuration::from_mins(1));
        assert_eq!(
            sentence(&failure, None, minute, longest),
            "asked by the controller, http://a/ refused the connection; the solver itself answers with the key; asked again \
             within 10 s, and 1 min after the solver first answered the CA is asked all the same"
        );
        let refusal = Some("of the HTTPRoute shop/x: the Gateway \"edge\" does not take it (NotAllowedByListeners)");
        assert!(
            sentence(&failure, refusal, Verdict::Enough, longest)
                .ends_with("NotAllowedByListeners); asked again within 10 s")
        );
    }
}
