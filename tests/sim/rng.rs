//! Pseudo-random numbers that are the same everywhere: SplitMix64 (Steele, Lea, Flood 2014).

/// A stream of numbers that its seed decides.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `from` up to, but not including, `to`.
    pub(crate) fn range(&mut self, from: usize, to: usize) -> usize {
        let span = u64::try_from(to - from).unwrap_or(1).max(1);
        from + usize::try_from(self.draw() % span).unwrap_or(0)
    }

    /// Milliseconds; as [`Rng::range`].
    pub(crate) fn ms(&mut self, from: usize, to: usize) -> i64 {
        i64::try_from(self.range(from, to)).unwrap_or(0)
    }

    /// True in so many of a thousand.
    pub(crate) fn chance(&mut self, per_mille: usize) -> bool {
        self.range(0, 1000) < per_mille
    }

    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.range(0, of.len())].clone()
    }
}
