//! What goes wrong in a world, and when.

/// What becomes of one effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Done,
    /// It did not get through.
    Lost,
    /// It was done, but nobody learned of it.
    AnswerLost,
    /// Somebody else wrote a moment earlier.
    Overtaken,
    CrashBefore,
    CrashAfter,
}

/// How often the effects of a random history go wrong: once in so many.
const ONE_IN: u64 = 5;

/// No world needs more.
const MOST_EFFECTS: usize = 50_000;

#[derive(Default)]
pub struct Faults {
    /// How many effects there were.
    pub effects: usize,
    /// The fate of the effect of this number.
    pub planned: Option<(usize, Fate)>,
    /// Where a random history stands.
    dice: Option<u64>,
    /// How much more may go wrong in a random history.
    budget: u32,
    /// Whether many more effects than usual are in order.
    is_patient: bool,
}

impl Faults {
    pub fn random(seed: u64, budget: u32) -> Self {
        Self { dice: Some(seed), budget, ..Self::default() }
    }

    /// For a world of many certificates, in which nothing goes wrong.
    pub fn patient() -> Self {
        Self { is_patient: true, ..Self::default() }
    }

    /// From now on nothing goes wrong.
    pub fn end(&mut self) {
        self.budget = 0;
    }

    pub fn next(&mut self) -> Fate {
        self.effects += 1;
        assert!(self.is_patient || self.effects < MOST_EFFECTS, "this does not end");
        if let Some((_, fate)) = self.planned.filter(|(number, _)| *number == self.effects) {
            return fate;
        }
        if self.budget == 0 || self.roll(ONE_IN) != 0 {
            return Fate::Done;
        }
        self.budget -= 1;
        let fates =
            [Fate::Lost, Fate::AnswerLost, Fate::Overtaken, Fate::CrashBefore, Fate::CrashAfter, Fate::AnswerLost];
        fates[usize::try_from(self.roll(6)).expect("a small number")]
    }

    /// A number below `limit`; 0 without dice.
    pub fn roll(&mut self, limit: u64) -> u64 {
        let Some(state) = &mut self.dice else { return 0 };
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}
