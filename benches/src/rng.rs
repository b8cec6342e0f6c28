//! The generator's randomness: xoshiro256** seeded by splitmix64, integers only.
//!
//! Own code, because a capture must be the same bytes for the same seed on every machine and for years: library
//! generators promise that per major version at best, and floating point not at all. Not for secrets.

/// One stream of numbers. Equal seeds give equal streams.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// A stream for `seed`; any value is good, zero included.
    pub fn new(seed: u64) -> Self {
        let mut mix = seed;
        Self { state: std::array::from_fn(|_| splitmix64(&mut mix)) }
    }

    /// A stream of its own for one conversation: what it draws does not shift what the others draw.
    pub fn fork(&mut self) -> Self {
        Self::new(self.next_u64())
    }

    /// The next 64 bits (xoshiro256**).
    pub fn next_u64(&mut self) -> u64 {
        let state = &mut self.state;
        let result = state[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = state[3].rotate_left(45);
        result
    }

    /// The upper half of the next 64 bits.
    pub fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// A number in `low..high`; `low` where the range is empty. The bias is below 2^-32 for the ranges used here.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        low + (self.next_u64() >> 32) * high.saturating_sub(low) / (1 << 32)
    }

    /// True in `per_million` of 1,000,000 cases.
    pub fn chance(&mut self, per_million: u64) -> bool {
        self.range(0, 1_000_000) < per_million
    }
}

fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_matches_the_published_vector() {
        let mut state = 1_234_567;
        assert_eq!(splitmix64(&mut state), 6_457_827_717_110_365_317);
        assert_eq!(splitmix64(&mut state), 3_203_168_211_198_807_973);
    }

    #[test]
    fn ranges_and_chances_stay_near_their_means() {
        let mut rng = Rng::new(42);
        let draws: Vec<u64> = (0..10_000).map(|_| rng.range(10, 20)).collect();
        assert!(draws.iter().all(|draw| (10..20).contains(draw)));
        assert!((140_000..150_000).contains(&draws.iter().sum::<u64>()));
        let hits = (0..100_000).filter(|_| rng.chance(20_000)).count();
        assert!((1_800..2_200).contains(&hits), "{hits}");
        assert_eq!(rng.range(7, 7), 7);
    }
}
