//! Which part of the work an object belongs to, where several replicas work at the same time.

/// One of the parts into which all work is divided. All objects of a namespace belong to one part, so that whatever hangs
/// together is worked on by one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// From 0.
    pub number: u32,
    /// How many parts there are, at least 1.
    pub of: u32,
}

impl Share {
    /// The only part where the work is not divided.
    pub const WHOLE: Self = Self { number: 0, of: 1 };

    /// The part that the objects of this namespace belong to; those without a namespace belong to the first.
    pub fn of_namespace(namespace: &str, of: u32) -> Self {
        let of = of.max(1);
        let number = if namespace.is_empty() { 0 } else { hash(namespace) % of };
        Self { number, of }
    }

    pub fn has(self, namespace: &str) -> bool {
        Self::of_namespace(namespace, self.of) == self
    }

    /// What of a number for the whole falls to this part, at least one: together as much as the whole, unless that is less than
    /// one for each.
    pub fn part_of(self, whole: u32) -> u32 {
        let parts = self.of.max(1);
        (whole / parts + u32::from(self.number < whole % parts)).max(1)
    }
}

/// FNV-1a with 32 bits, folded. It is the same in every version, for replicas of different versions work side by side.
fn hash(text: &str) -> u32 {
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_belongs_to_one_part_for_ever() {
        assert_eq!(hash(""), 0x811c_9dc5 ^ 0x811c);
        // From the tables of the authors of FNV.
        let unfolded = |hash: u32| hash ^ (hash >> 16);
        assert_eq!(hash("a"), unfolded(0xe40c_292c));
        assert_eq!(hash("foobar"), unfolded(0xbf9c_f968));
        assert_eq!(Share::of_namespace("", 7).number, 0);
        assert!(Share::WHOLE.has("shop") && Share::WHOLE.has(""));
        assert_eq!(Share::WHOLE.part_of(60), 60);
        let parts = |whole| [0, 1, 2, 3, 4, 5, 6].map(|number| Share { number, of: 7 }.part_of(whole));
        assert_eq!(parts(60), [9, 9, 9, 9, 8, 8, 8]);
        assert_eq!((parts(9), parts(3)), ([2, 2, 1, 1, 1, 1, 1], [1; 7]));
    }

    #[test]
    fn the_parts_are_about_equal() {
        let mut counts = [0; 4];
        for number in 0..4000 {
            let share = Share::of_namespace(&format!("team-{number}"), 4);
            counts[share.number as usize] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
