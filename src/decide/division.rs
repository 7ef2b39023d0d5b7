//! How the shares of the work are spread over the replicas, and into how many shares the work is divided at present.
//!
//! There is a Lease for each share; whoever holds it works on the share. A share that nobody has is taken by whoever comes
//! first. A replica that has at least two fewer than another one asks for one, by an annotation on its Lease; the holder gives it
//! back when it next renews it.
//!
//! Replicas that divide the work differently must not work at the same time. So the Lease of the first share says which division
//! is in force, and nobody works by another one. It is changed by the holder of that Lease in two steps: for as long as a lease
//! lasts it says that none is, until all have stopped that go by the former one, also those that are cut off.

use jiff::SignedDuration;

use super::lease::Steady;

/// That no division is in force.
pub const NONE: u32 = 0;

/// How long a share is left to the one who asked for it.
const COURTESY: SignedDuration = SignedDuration::from_secs(4);

/// What is known of the Leases of all shares.
#[derive(Clone, Debug, PartialEq)]
pub struct Board {
    me: String,
    seats: Vec<Seat>,
    in_force: Option<InForce>,
}

/// The Lease of one share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seat {
    pub holder: Holder,
    /// Who has asked for it.
    pub wanted_by: Option<String>,
    /// Since when nobody holds it.
    pub free_since: Option<Steady>,
}

/// Who holds a Lease that has not run out.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Holder {
    #[default]
    Unknown,
    Nobody,
    Somebody(String),
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct InForce {
    division: u32,
    /// When the last call began that showed it.
    confirmed: Steady,
}

/// What to do about a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// Take it if nobody has it, and keep it.
    Contend,
    /// Do not take it.
    Watch,
    /// Ask its holder for it.
    Ask,
    /// Give it back.
    GiveWay,
}

impl Board {
    /// Of as many shares as this replica divides the work into.
    pub fn new(me: String, shares: u32) -> Self {
        let seats = (0..shares.max(1)).map(|_| Seat::default()).collect();
        Self { me, seats, in_force: None }
    }

    /// Into how many shares this replica divides the work.
    pub fn shares(&self) -> u32 {
        u32::try_from(self.seats.len()).unwrap_or(u32::MAX)
    }

    /// Notes who holds the Lease of a share, and who has asked for it.
    pub fn note(&mut self, share: u32, holder: Holder, wanted_by: Option<String>, now: Steady) {
        let Some(seat) = self.seat_mut(share) else { return };
        let free_since = (holder == Holder::Nobody).then(|| seat.free_since.unwrap_or(now));
        *seat = Seat { holder, wanted_by, free_since };
    }

    /// Notes which division is in force, as a call showed it that began at `began`.
    pub fn note_division(&mut self, division: u32, began: Steady) {
        self.in_force = Some(InForce { division, confirmed: began });
    }

    /// Whether this replica's division is in force.
    pub fn is_in_force(&self) -> bool {
        self.in_force.is_some_and(|in_force| in_force.division == self.shares())
    }

    /// Until when shares may be worked on by what is known of the division; none if they may not.
    pub fn works_until(&self, renew_deadline: SignedDuration) -> Option<Steady> {
        let in_force = self.in_force.filter(|in_force| in_force.division == self.shares())?;
        Some(in_force.confirmed.saturating_add(renew_deadline))
    }

    /// What to do about this share.
    pub fn stance(&self, share: u32, now: Steady) -> Stance {
        let Some(seat) = self.seat(share) else { return Stance::Watch };
        let is_mine = seat.holder == Holder::Somebody(self.me.clone());
        if !self.is_in_force() {
            return match share {
                // Its holder is the one to change that.
                0 => Stance::Contend,
                _ if is_mine => Stance::GiveWay,
                _ => Stance::Watch,
            };
        }
        let other = seat.wanted_by.as_deref().filter(|wanted_by| *wanted_by != self.me);
        match &seat.holder {
            Holder::Nobody => {
                let is_reserved = seat.free_since.is_none_or(|since| since.saturating_add(COURTESY) > now);
                if other.is_some() && is_reserved { Stance::Watch } else { Stance::Contend }
            }
            Holder::Somebody(_) if is_mine => match other {
                Some(other) if self.held_by(&self.me) >= self.held_by(other) + 2 => Stance::GiveWay,
                _ => Stance::Contend,
            },
            Holder::Somebody(holder) if other.is_none() && self.is_to_ask(share, holder) => Stance::Ask,
            Holder::Somebody(_) | Holder::Unknown => Stance::Watch,
        }
    }

    /// Whether this share is the one to ask for: the last of whoever has most, if nothing was asked for yet.
    fn is_to_ask(&self, share: u32, holder: &str) -> bool {
        let has_asked = self.seats.iter().any(|seat| seat.wanted_by.as_deref() == Some(&self.me) && is_held(seat));
        let most = self.seats.iter().filter_map(holder_of).map(|holder| self.held_by(holder)).max().unwrap_or_default();
        let richest = self.seats.iter().filter_map(holder_of).filter(|holder| self.held_by(holder) == most).min();
        let last = self.seats.iter().rposition(|seat| holder_of(seat) == Some(holder) && seat.wanted_by.is_none());
        !has_asked
            && most >= self.held_by(&self.me) + 2
            && richest == Some(holder)
            && last.and_then(|last| u32::try_from(last).ok()) == Some(share)
    }

    fn held_by(&self, who: &str) -> usize {
        self.seats.iter().filter(|seat| holder_of(seat) == Some(who)).count()
    }

    fn seat(&self, share: u32) -> Option<&Seat> {
        self.seats.get(usize::try_from(share).ok()?)
    }

    fn seat_mut(&mut self, share: u32) -> Option<&mut Seat> {
        self.seats.get_mut(usize::try_from(share).ok()?)
    }
}

fn holder_of(seat: &Seat) -> Option<&str> {
    match &seat.holder {
        Holder::Somebody(holder) => Some(holder),
        Holder::Nobody | Holder::Unknown => None,
    }
}

fn is_held(seat: &Seat) -> bool {
    holder_of(seat).is_some()
}

/// What the Lease of the first share is to say of the division by its holder, who divides the work into `shares`, and what it
/// says now; none if there is no such Lease yet. `silent` tells since when it says that none is in force, if this holder made it
/// say so.
pub fn to_announce(
    shares: u32,
    now_says: Option<u32>,
    silent: Option<Steady>,
    lease_duration: SignedDuration,
    now: Steady,
) -> u32 {
    let is_over = |since: Steady| since.saturating_add(lease_duration) <= now;
    if now_says.is_none_or(|says| says == shares) || silent.is_some_and(is_over) { shares } else { NONE }
}

/// What the annotation on the Lease of the first share says; without one the work is not divided.
pub fn read(annotation: Option<&str>) -> u32 {
    annotation.map_or(1, |text| text.trim().parse().unwrap_or(NONE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady(seconds: i64) -> Steady {
        SignedDuration::from_secs(seconds)
    }

    /// Each share by the first letter of its holder; `-` is nobody.
    fn board(me: &str, holders: &str) -> Board {
        let mut board = Board::new(me.to_owned(), u32::try_from(holders.len()).unwrap_or_default());
        for (share, holder) in (0..).zip(holders.chars()) {
            let holder = if holder == '-' { Holder::Nobody } else { Holder::Somebody(holder.to_string()) };
            board.note(share, holder, None, steady(0));
        }
        board.note_division(board.shares(), steady(0));
        board
    }

    fn stances(board: &Board, now: i64) -> Vec<Stance> {
        (0..board.shares()).map(|share| board.stance(share, steady(now))).collect()
    }

    #[test]
    fn what_nobody_has_is_taken_and_what_is_fair_is_left() {
        use Stance::{Ask, Contend, Watch};
        assert_eq!(stances(&board("a", "----"), 0), [Contend; 4]);
        assert_eq!(stances(&board("a", "aabb"), 0), [Contend, Contend, Watch, Watch]);
        assert_eq!(stances(&board("b", "aaaa"), 0), [Watch, Watch, Watch, Ask]);
        assert_eq!(stances(&board("b", "aaab"), 0), [Watch, Watch, Ask, Contend]);
        assert_eq!(stances(&board("c", "aabb"), 0), [Watch, Ask, Watch, Watch], "of two equal ones the first");
        assert_eq!(stances(&board("c", "ab"), 0), [Watch, Watch], "a replica too many stands by");
        assert_eq!(Board::new("a".into(), 2).stance(1, steady(0)), Watch, "nothing is known yet");
    }

    #[test]
    fn who_is_asked_gives_way_if_it_is_fair() {
        let mut asked = board("a", "aaaa");
        asked.note(3, Holder::Somebody("a".into()), Some("b".into()), steady(0));
        assert_eq!(asked.stance(3, steady(0)), Stance::GiveWay);
        let mut asked = board("a", "aabb");
        asked.note(1, Holder::Somebody("a".into()), Some("b".into()), steady(0));
        assert_eq!(asked.stance(1, steady(0)), Stance::Contend);
        // Nobody asks twice, and nobody for what another one has asked for.
        let mut asking = board("b", "aaaa");
        asking.note(3, Holder::Somebody("a".into()), Some("b".into()), steady(0));
        assert_eq!(stances(&asking, 0), [Stance::Watch; 4]);
        asking.note(3, Holder::Somebody("a".into()), Some("c".into()), steady(0));
        assert_eq!(stances(&asking, 0), [Stance::Watch, Stance::Watch, Stance::Ask, Stance::Watch]);
    }

    #[test]
    fn a_share_is_left_for_a_while_to_who_asked_for_it() {
        for (me, at_once) in [("a", Stance::Watch), ("b", Stance::Contend)] {
            let mut free = board(me, "aaa-");
            free.note(3, Holder::Nobody, Some("b".into()), steady(1));
            assert_eq!(free.stance(3, steady(3)), at_once, "{me}");
            assert_eq!(free.stance(3, steady(4)), Stance::Contend, "{me}");
        }
    }

    #[test]
    fn nobody_works_by_another_division_than_the_one_in_force() {
        let mut board = board("a", "aab");
        assert_eq!(board.works_until(steady(40)), Some(steady(40)));
        board.note_division(2, steady(5));
        assert_eq!(board.works_until(steady(40)), None);
        assert_eq!(stances(&board, 5), [Stance::Contend, Stance::GiveWay, Stance::Watch]);
    }

    #[test]
    fn a_division_comes_into_force_when_a_lease_has_run_out_without_one() {
        let announce = |says, silent, now| to_announce(3, says, silent, steady(60), steady(now));
        assert_eq!(announce(None, None, 0), 3);
        assert_eq!(announce(Some(3), None, 0), 3);
        assert_eq!(announce(Some(2), None, 0), NONE);
        assert_eq!(announce(Some(NONE), None, 100), NONE, "somebody else may have begun that just now");
        assert_eq!(announce(Some(NONE), Some(steady(100)), 159), NONE);
        assert_eq!(announce(Some(NONE), Some(steady(100)), 160), 3);
    }

    #[test]
    fn without_a_word_the_work_is_not_divided() {
        assert_eq!(
            [read(None), read(Some("1")), read(Some(" 4 ")), read(Some("0")), read(Some("many"))],
            [1, 1, 4, 0, 0]
        );
    }

    /// Whoever starts and stops, after a while the numbers differ by one at most and every share has a holder.
    #[test]
    fn it_comes_to_rest() {
        let mut holders = vec![Holder::Nobody; 7];
        let mut wanted: Vec<Option<String>> = vec![None; 7];
        let names = ["a", "b", "c", "d"];
        for (round, alive) in [(0, 1), (40, 2), (80, 4), (200, 2), (280, 3)] {
            for holder in &mut holders {
                let is_gone = matches!(holder, Holder::Somebody(name) if !names[..alive].contains(&name.as_str()));
                if is_gone {
                    *holder = Holder::Nobody;
                }
            }
            let mut boards: Vec<Board> = names[..alive].iter().map(|name| Board::new((*name).to_owned(), 7)).collect();
            for (now, number) in (round..).step_by(1).zip(0..60 * alive) {
                let board = &mut boards[number % alive];
                for share in 0..7 {
                    let index = usize::try_from(share).unwrap_or_default();
                    board.note(share, holders[index].clone(), wanted[index].clone(), steady(now));
                    board.note_division(7, steady(now));
                }
                for share in 0..7 {
                    let index = usize::try_from(share).unwrap_or_default();
                    match board.stance(share, steady(now)) {
                        Stance::Contend if holders[index] == Holder::Nobody => {
                            holders[index] = Holder::Somebody(board.me.clone());
                            wanted[index] = None;
                        }
                        Stance::Ask => wanted[index] = Some(board.me.clone()),
                        Stance::GiveWay => holders[index] = Holder::Nobody,
                        Stance::Contend | Stance::Watch => {}
                    }
                    board.note(share, holders[index].clone(), wanted[index].clone(), steady(now));
                }
            }
            let counts: Vec<usize> = boards
                .iter()
                .map(|board| board.me.clone())
                .map(|name| holders.iter().filter(|holder| **holder == Holder::Somebody(name.clone())).count())
                .collect();
            assert_eq!(counts.iter().sum::<usize>(), 7, "{holders:?}");
            assert!(
                counts.iter().max().zip(counts.iter().min()).is_some_and(|(most, least)| most - least <= 1),
                "{counts:?}"
            );
        }
    }
}
