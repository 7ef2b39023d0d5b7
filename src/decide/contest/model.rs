//! Replicas with clocks of their own, an API server that keeps versions, calls that get lost or come late, and somebody who
//! sees who works on what.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

pub(super) const TIMING: Timing = Timing {
    lease_duration: SignedDuration::from_secs(12),
    renew_deadline: SignedDuration::from_secs(9),
    retry_period: SignedDuration::from_secs(3),
};

/// So long after its time work may still be under way.
const LAG: SignedDuration = SignedDuration::from_secs(1);

/// Mistakes that the model can be made to have, to see whether they are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    /// A holder works for longer than the others wait.
    LongDeadline,
    /// Writes are taken whatever version they are about.
    NoVersions,
    /// Who waits counts from the time that stands in the Lease, by its own clock.
    ClockOfTheHolder,
    /// A holder counts from the answer, not from when it began to ask.
    CountsFromAnswer,
    /// A share is given to another before the work on it has ended.
    GivesTooEarly,
}

/// How the clocks of a replica differ from the true time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    /// Of the steady clock, in milliseconds.
    pub(super) steady: i64,
    /// By how many thousandths the steady clock is fast.
    pub(super) drift: i64,
    /// Of the clock on the wall, in milliseconds.
    pub(super) wall: i64,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on: it begins, or reaches the server, or its answer arrives.
    Goes,
    /// It, or its answer, is lost.
    Lost,
    /// Nobody waits for it any more; it may reach the server later.
    Late,
}

pub(super) struct World {
    pub(super) now: i64,
    pub(super) server: Server,
    pub(super) replicas: Vec<Replica>,
    mistake: Option<Mistake>,
}

#[derive(Default)]
pub(super) struct Server {
    pub(super) leases: BTreeMap<String, Lease>,
    version: u64,
    late: Vec<Request>,
    /// How many calls there were.
    pub(super) calls: u64,
}

pub(super) struct Replica {
    pub(super) name: String,
    clocks: Clocks,
    /// None of its calls get through.
    pub(super) is_cut_off: bool,
    /// What works on the shares takes its time to end.
    pub(super) is_slow: bool,
    pub(super) process: Option<Process>,
}

/// A replica while it runs.
pub(super) struct Process {
    board: Board,
    lines: Vec<Line>,
    /// What the contests say may be worked on, and until when.
    held: BTreeMap<u32, Steady>,
    /// What is worked on, and until when.
    working: BTreeMap<u32, Steady>,
    is_stopping: bool,
    /// Nothing is worked on any more, and the Leases are given back.
    is_resigning: bool,
}

/// One contest and its call, if one is under way.
struct Line {
    contest: Contest,
    call: Option<Pending>,
    /// It is about to be given back because the process ends.
    is_leaving: bool,
    /// That is over.
    is_done: bool,
}

struct Pending {
    call: Call,
    request: Request,
    began: Steady,
    /// It is made when nothing of the share is worked on any more.
    waits: bool,
    answer: Option<Outcome>,
}

/// What a process has to do with while it takes a turn.
struct Outside<'a> {
    server: &'a mut Server,
    is_cut_off: bool,
    clocks: Clocks,
    now: Steady,
    wall: Timestamp,
    mistake: Option<Mistake>,
}

#[derive(Clone)]
#[allow(clippy::large_enum_variant)]
enum Request {
    Read(String),
    Write(Lease),
}

impl Server {
    fn answer(&mut self, request: &Request, mistake: Option<Mistake>) -> Outcome {
        self.calls += 1;
        match request {
            Request::Read(name) => Outcome::Is(self.leases.get(name).cloned()),
            Request::Write(lease) => {
                let name = lease.name_any();
                let newest = self.leases.get(&name).and_then(|lease| lease.metadata.resource_version.clone());
                if newest != lease.metadata.resource_version && mistake != Some(Mistake::NoVersions) {
                    return Outcome::Overtaken;
                }
                self.version += 1;
                let mut lease = lease.clone();
                lease.metadata.resource_version = Some(self.version.to_string());
                self.leases.insert(name, lease.clone());
                Outcome::Is(Some(lease))
            }
        }
    }
}

impl World {
    pub(super) fn new(clocks: &[Clocks], mistake: Option<Mistake>) -> Self {
        let replica = |(number, clocks): (usize, &Clocks)| Replica {
            name: format!("r{number}"),
            clocks: *clocks,
            is_cut_off: false,
            is_slow: false,
            process: None,
        };
        let replicas = clocks.iter().enumerate().map(replica).collect();
        Self { now: 0, server: Server::default(), replicas, mistake }
    }

    /// Begins a process that divides the work into so many shares, unless one runs.
    pub(super) fn start(&mut self, number: usize, shares: u32) {
        let mut timing = TIMING;
        if self.mistake == Some(Mistake::LongDeadline) {
            timing.renew_deadline = SignedDuration::from_secs(20);
        }
        let replica = &mut self.replicas[number];
        let name = replica.name.clone();
        replica.process.get_or_insert_with(|| Process::new(&name, shares, timing));
    }

    /// It ends at once; what it has sent may still arrive.
    pub(super) fn kill(&mut self, number: usize) {
        let process = self.replicas[number].process.take();
        let lines = process.into_iter().flat_map(|process| process.lines);
        let sent = lines.filter_map(|line| line.call).filter(|call| call.answer.is_none() && !call.waits);
        self.server.late.extend(sent.map(|call| call.request));
    }

    pub(super) fn stop(&mut self, number: usize) {
        if let Some(process) = &mut self.replicas[number].process {
            process.is_stopping = true;
        }
    }

    /// A call that nobody waits for reaches the server.
    pub(super) fn deliver(&mut self, which: usize) {
        if !self.server.late.is_empty() {
            let request = self.server.late.swap_remove(which % self.server.late.len());
            self.server.answer(&request, self.mistake);
        }
    }

    pub(super) fn deliver_all(&mut self) {
        while !self.server.late.is_empty() {
            self.deliver(0);
        }
    }

    /// One of a replica's contests goes on.
    pub(super) fn turn(&mut self, number: usize, line: usize, fate: Fate) {
        let (now, mistake) = (self.now, self.mistake);
        let Replica { clocks, is_cut_off, process, .. } = &mut self.replicas[number];
        let Some(process) = process else { return };
        let line = line % process.lines.len();
        let (steady, wall) = (clocks.steady(now), clocks.wall(now));
        let mut outside =
            Outside { server: &mut self.server, clocks: *clocks, is_cut_off: *is_cut_off, now: steady, wall, mistake };
        process.turn(line, fate, &mut outside);
        if process.lines.iter().all(|line| line.is_done) {
            self.replicas[number].process = None;
        }
    }

    /// All of them go on.
    pub(super) fn progress(&mut self, number: usize) {
        let lines = self.replicas[number].process.as_ref().map_or(0, |process| process.lines.len());
        for line in 0..lines {
            self.turn(number, line, Fate::Goes);
        }
    }

    /// What works on the shares looks at what may be worked on.
    pub(super) fn follow(&mut self, number: usize) {
        let Replica { clocks, is_slow, process, .. } = &mut self.replicas[number];
        if let Some(process) = process.as_mut().filter(|_| !*is_slow) {
            process.follow(clocks.steady(self.now));
        }
    }

    /// All that runs is quick and nothing is lost, for so long or until `is_done`; how long that took.
    pub(super) fn calm(&mut self, longest: i64, is_done: impl Fn(&Self) -> bool) -> Result<i64, String> {
        let began = self.now;
        while !is_done(self) {
            if self.now >= began + longest {
                return Err(format!("not after {longest} ms: {:?}", self.workers()));
            }
            self.pass(50)?;
        }
        Ok(self.now - began)
    }

    /// So much time goes by while all is calm.
    pub(super) fn pass(&mut self, millis: i64) -> Result<(), String> {
        let end = self.now + millis;
        while self.now < end {
            self.now += 50;
            for number in 0..self.replicas.len() {
                self.progress(number);
                self.follow(number);
            }
            self.check()?;
        }
        Ok(())
    }

    /// Who works: the replica, its share, and into how many it divides the work.
    pub(super) fn workers(&self) -> Vec<(&str, u32, u32)> {
        let mut workers = Vec::new();
        for Replica { name, clocks, process, .. } in &self.replicas {
            let Some(process) = process else { continue };
            let now = clocks.steady(self.now);
            let active = process.working.iter().filter(|(_, until)| **until + LAG > now);
            workers.extend(active.map(|(share, _)| (name.as_str(), *share, process.board.shares())));
        }
        workers
    }

    /// Whether nothing is worked on by two.
    pub(super) fn check(&self) -> Result<(), String> {
        let workers = self.workers();
        for (index, (name, share, of)) in workers.iter().enumerate() {
            for (other, its, its_of) in &workers[index + 1..] {
                if name != other && (of != its_of || share == its) {
                    return Err(format!(
                        "{name} on {share} of {of} and {other} on {its} of {its_of} at {} ms",
                        self.now
                    ));
                }
            }
        }
        Ok(())
    }

    /// Whether every share is worked on.
    pub(super) fn is_complete(&self, shares: u32) -> bool {
        let worked: BTreeSet<u32> =
            self.workers().into_iter().filter(|(_, _, of)| *of == shares).map(|(_, share, _)| share).collect();
        worked.len() == usize::try_from(shares).unwrap()
    }

    /// Whether no replica that runs has two fewer than another one.
    pub(super) fn is_balanced(&self) -> bool {
        let workers = self.workers();
        let running = self.replicas.iter().filter(|replica| replica.process.is_some());
        let count = |name: &str| workers.iter().filter(|(worker, ..)| *worker == name).count();
        let counts: Vec<usize> = running.map(|replica| count(&replica.name)).collect();
        counts.iter().max().zip(counts.iter().min()).is_none_or(|(most, least)| most - least <= 1)
    }

    /// Which division the Lease of the first share says is in force.
    pub(super) fn in_force(&self) -> Option<u32> {
        let lease = self.server.leases.get(LEASE)?;
        Some(division::read(lease.annotations().get(annotation::SHARDS).map(String::as_str)))
    }
}

impl Clocks {
    fn steady(self, now: i64) -> Steady {
        SignedDuration::from_millis(self.steady + now + now * self.drift / 1000)
    }

    fn wall(self, now: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + now + self.wall).unwrap()
    }

    /// When the steady clock showed what this clock showed at that time.
    fn steady_at(self, wall: Timestamp) -> Steady {
        self.steady(wall.as_millisecond() - 1_800_000_000_000 - self.wall)
    }
}

impl Process {
    fn new(name: &str, shares: u32, timing: Timing) -> Self {
        let line = |share| Line {
            contest: Contest::new(share, name.to_owned(), timing),
            call: None,
            is_leaving: false,
            is_done: false,
        };
        Self {
            board: Board::new(name.to_owned(), shares),
            lines: (0..shares).map(line).collect(),
            held: BTreeMap::new(),
            working: BTreeMap::new(),
            is_stopping: false,
            is_resigning: false,
        }
    }

    fn follow(&mut self, now: Steady) {
        if self.is_stopping {
            self.working.clear();
            self.is_resigning = true;
        } else {
            self.working = self.held.iter().filter(|(_, until)| **until > now).map(|(s, until)| (*s, *until)).collect();
        }
    }

    fn turn(&mut self, number: usize, fate: Fate, outside: &mut Outside<'_>) {
        let share = u32::try_from(number).unwrap();
        let Self { board, lines, held, working, is_resigning, .. } = self;
        let line = &mut lines[number];
        if *is_resigning {
            return line.resign(fate, board, outside);
        }
        match line.call.take() {
            None if fate == Fate::Goes => {
                line.publish(board, held, outside.now);
                line.begin(board, outside);
            }
            None => {}
            Some(call) if call.waits => {
                let is_at_rest = !working.contains_key(&share) || outside.mistake == Some(Mistake::GivesTooEarly);
                if is_at_rest {
                    line.contest.left();
                }
                line.call = Some(Pending { began: outside.now, waits: !is_at_rest, ..call });
            }
            Some(call) => line.go_on(call, fate, board, outside),
        }
        line.publish(board, held, outside.now);
    }
}

impl Line {
    fn begin(&mut self, board: &Board, outside: &Outside<'_>) {
        let (call, request, waits) = match self.contest.next(board, outside.now, outside.wall) {
            Move::WaitUntil(_) => return,
            Move::Look => (Call::Look, Request::Read(self.contest.lease_name()), false),
            Move::Claim(lease) => (Call::Claim, Request::Write(lease), false),
            Move::Ask(lease) => (Call::Look, Request::Write(lease), false),
            Move::GiveWay(lease) => (Call::Claim, Request::Write(lease), true),
        };
        self.call = Some(Pending { call, request, began: outside.now, waits, answer: None });
    }

    fn go_on(&mut self, mut call: Pending, fate: Fate, board: &mut Board, outside: &mut Outside<'_>) {
        match (fate, call.answer.take()) {
            (Fate::Goes, None) if outside.is_cut_off => self.settle(&call, Outcome::Failed, board, outside),
            (Fate::Goes, None) => {
                call.answer = Some(outside.server.answer(&call.request, outside.mistake));
                self.call = Some(call);
            }
            (Fate::Goes, Some(answer)) => self.settle(&call, answer, board, outside),
            (Fate::Late, None) => {
                outside.server.late.push(call.request.clone());
                self.settle(&call, Outcome::Failed, board, outside);
            }
            (Fate::Lost | Fate::Late, _) => self.settle(&call, Outcome::Failed, board, outside),
        }
    }

    fn settle(&mut self, call: &Pending, answer: Outcome, board: &mut Board, outside: &Outside<'_>) {
        let (mut began, mut now) = (call.began, outside.now);
        match (outside.mistake, &answer) {
            (Some(Mistake::CountsFromAnswer), _) => began = now,
            (Some(Mistake::ClockOfTheHolder), Outcome::Is(Some(lease))) if call.call == Call::Look => {
                let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
                now = renewed.map_or(now, |at| outside.clocks.steady_at(at.0));
            }
            _ => {}
        }
        self.contest.settle(board, call.call, answer, (began, now));
    }

    fn publish(&mut self, board: &mut Board, held: &mut BTreeMap<u32, Steady>, now: Steady) {
        self.contest.note(board, now);
        match self.contest.works_until(board, now) {
            Some(until) => drop(held.insert(self.contest.share(), until)),
            None => drop(held.remove(&self.contest.share())),
        }
    }

    /// One more look, and the Lease is given back; what was under way before is not waited for.
    fn resign(&mut self, fate: Fate, board: &mut Board, outside: &mut Outside<'_>) {
        if self.is_done {
            return;
        }
        let former = self.call.take();
        let Some(call) = former.filter(|_| self.is_leaving) else {
            self.is_leaving = true;
            let request = Request::Read(self.contest.lease_name());
            self.call = Some(Pending { call: Call::Look, request, began: outside.now, waits: false, answer: None });
            return;
        };
        let has_released = call.call == Call::Claim;
        if fate != Fate::Goes {
            self.is_done = true;
        }
        self.go_on(call, fate, board, outside);
        if self.call.is_none() && !self.is_done {
            let lease = self.contest.release(outside.wall).filter(|_| !has_released);
            self.is_done = lease.is_none();
            let begun = |lease| Pending {
                call: Call::Claim,
                request: Request::Write(lease),
                began: outside.now,
                waits: false,
                answer: None,
            };
            self.call = lease.map(begun);
        }
    }
}
