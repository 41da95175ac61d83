//! Choices at random from a seed: the same seed makes the same choices. Their moments are the machine's.

use std::ops::RangeInclusive;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// One actor's choices, which do not depend on how many the others have made.
#[derive(Debug)]
pub(crate) struct Choices(StdRng);

impl Choices {
    pub(crate) fn of(seed: u64, actor: &str) -> Self {
        let digest = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(actor);
        Self(StdRng::from_seed(digest.finalize().into()))
    }

    /// A number of the range.
    pub(crate) fn between(&mut self, range: RangeInclusive<usize>) -> usize {
        self.0.random_range(range)
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.between(1..=times) == 1
    }

    /// One of several.
    pub(crate) fn one_of<'all, T>(&mut self, all: &'all [T]) -> &'all T {
        &all[self.between(0..=all.len() - 1)]
    }

    /// All of them, in another order.
    pub(crate) fn shuffled<T: Copy>(&mut self, all: &[T]) -> Vec<T> {
        let mut left = all.to_vec();
        let mut shuffled = Vec::new();
        while !left.is_empty() {
            shuffled.push(left.swap_remove(self.between(0..=left.len() - 1)));
        }
        shuffled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_choices_again_and_another_one_others() {
        let made = |seed, actor| {
            let mut choices = Choices::of(seed, actor);
            (0..20).map(|_| choices.between(1..=1_000)).collect::<Vec<_>>()
        };
        assert_eq!(made(7, "customer 1"), made(7, "customer 1"));
        assert_ne!(made(7, "customer 1"), made(8, "customer 1"));
        assert_ne!(made(7, "customer 1"), made(7, "customer 2"));
    }

    #[test]
    fn shuffled_has_each_once() {
        let mut shuffled = Choices::of(1, "").shuffled(&[1, 2, 3, 4, 5]);
        shuffled.sort_unstable();
        assert_eq!(shuffled, [1, 2, 3, 4, 5]);
    }
}
