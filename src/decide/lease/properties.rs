//! Never are two active, whatever their clocks say, however slow the API server is and whichever calls are lost.

use proptest::prelude::*;

use super::*;

const TIMING: Timing = Timing {
    lease_duration: SignedDuration::from_secs(12),
    renew_deadline: SignedDuration::from_secs(9),
    retry_period: SignedDuration::from_secs(3),
};

/// What happens next to one of the candidates.
#[derive(Clone, Copy, Debug)]
struct Turn {
    candidate: usize,
    /// How much time goes by before.
    millis: i64,
    fate: Fate,
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It goes on: begins a call, or the call reaches the server, or the answer arrives.
    Goes,
    /// The call, or its answer, is lost.
    Lost,
    /// The process ends, and begins again without its memory.
    Dies,
    /// It gives the Lease back, if it has it.
    Releases,
}

/// A candidate with its clocks and the call that is under way.
struct Process {
    candidate: Candidate,
    steady: i64,
    wall: i64,
    call: Option<Call>,
    /// The version of the Lease that it saw last.
    version: u64,
}

struct Call {
    next: Next,
    began: Steady,
    version: u64,
    answer: Option<Answer>,
}

#[derive(Clone)]
enum Answer {
    Read(Option<LeaseSpec>, u64),
    Written(LeaseSpec, u64),
    Conflict,
}

#[derive(Default)]
struct Server {
    lease: Option<LeaseSpec>,
    version: u64,
}

impl Server {
    fn answer(&mut self, call: &Call) -> Answer {
        match &call.next {
            Next::Write(lease) if call.version == self.version => {
                self.lease = Some(lease.clone());
                self.version += 1;
                Answer::Written(lease.clone(), self.version)
            }
            Next::Write(_) => Answer::Conflict,
            Next::Look | Next::WaitUntil(_) => Answer::Read(self.lease.clone(), self.version),
        }
    }
}

impl Process {
    fn new(number: usize, steady: i64, wall: i64) -> Self {
        Self { candidate: Candidate::new(format!("p{number}"), TIMING), steady, wall, call: None, version: 0 }
    }

    fn clock(&self, now: i64) -> Steady {
        SignedDuration::from_millis(now + self.steady)
    }

    fn begin(&mut self, next: Next, now: i64) {
        self.call = Some(Call { next, began: self.clock(now), version: self.version, answer: None });
    }

    fn turn(&mut self, turn: Turn, server: &mut Server, now: i64) {
        let (steady, wall) =
            (self.clock(now), Timestamp::from_millisecond(1_800_000_000_000 + now + self.wall).unwrap());
        match (turn.fate, self.call.take()) {
            (Fate::Dies, _) => {
                *self = Self { candidate: Candidate::new(self.candidate.identity.clone(), TIMING), call: None, ..*self }
            }
            (Fate::Releases, _) => {
                if let Some(lease) = self.candidate.release(wall) {
                    self.candidate.stop();
                    self.begin(Next::Write(lease), now);
                }
            }
            (Fate::Lost, Some(_)) => self.candidate.failed(steady),
            (Fate::Lost, None) => {}
            (Fate::Goes, None) => match self.candidate.next(steady, wall, true) {
                Next::WaitUntil(_) => {}
                next => self.begin(next, now),
            },
            (Fate::Goes, Some(mut call)) => match call.answer.take() {
                None => {
                    call.answer = Some(server.answer(&call));
                    self.call = Some(call);
                }
                Some(Answer::Read(lease, version)) => {
                    self.version = version;
                    self.candidate.looked(lease, steady);
                }
                Some(Answer::Written(lease, version)) => {
                    self.version = version;
                    self.candidate.wrote(lease, call.began, steady);
                }
                Some(Answer::Conflict) => self.candidate.overtaken(),
            },
        }
    }
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let fate =
        prop_oneof![20 => Just(Fate::Goes), 2 => Just(Fate::Lost), 1 => Just(Fate::Dies), 1 => Just(Fate::Releases)];
    let millis = prop_oneof![6 => 0_i64..300, 2 => 0_i64..4000, 1 => 0_i64..15_000];
    let turn = (0_usize..3, millis, fate).prop_map(|(candidate, millis, fate)| Turn { candidate, millis, fate });
    prop::collection::vec(turn, 1..400)
}

/// Runs the turns; how often somebody began to hold the Lease, or the moment at which two did.
fn run(turns: &[Turn], clocks: [i64; 3]) -> Result<usize, String> {
    let mut server = Server::default();
    let mut processes: Vec<Process> =
        clocks.iter().enumerate().map(|(number, skew)| Process::new(number, skew.abs(), *skew)).collect();
    let (mut now, mut former, mut begun) = (0, None, 0);
    for turn in turns {
        now += turn.millis;
        processes[turn.candidate].turn(*turn, &mut server, now);
        let is_active = |process: &&Process| process.candidate.holds_until(process.clock(now)).is_some();
        let active: Vec<&str> =
            processes.iter().filter(is_active).map(|process| process.candidate.identity()).collect();
        if active.len() > 1 {
            return Err(format!("{active:?} at {now} ms"));
        }
        let holder = active.first().map(|holder| (*holder).to_owned());
        begun += usize::from(holder.is_some() && holder != former);
        former = holder;
    }
    Ok(begun)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn never_two_at_once(turns in turns(), clocks in prop::array::uniform3(-7_200_000_i64..7_200_000)) {
        prop_assert_eq!(run(&turns, clocks).err(), None);
    }
}

#[test]
fn when_nothing_goes_wrong_somebody_holds_it_all_the_time() {
    let turns: Vec<Turn> =
        (0..3000).map(|number| Turn { candidate: number % 3, millis: 30, fate: Fate::Goes }).collect();
    assert_eq!(run(&turns, [0, 3_600_000, -3_600_000]), Ok(1));
}
