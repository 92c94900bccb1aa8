//! Latencies, counted so that a percentile can be told.

/// Sub-buckets of an octave: a bucket is at most a quarter as wide as its lower end is high.
const PER_OCTAVE: usize = 4;

/// Up to 33 s: beyond any time-out of a leg. With fewer, the p99 of a hard disk under load would stick at the last
/// bucket and a rise of it would go unseen.
const BUCKETS: usize = 96;

/// How many I/Os took how long: log-linear buckets in a fixed array, a few instructions a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LatencyHistogram {
    buckets: [u32; BUCKETS],
    count: u32,
}

/// What a histogram says of the time since it was last cleared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LatencySample {
    /// 99 of 100 I/Os took no longer than about this; 0 if there were none.
    pub p99_us: u32,
    /// I/Os that ended.
    pub count: u32,
}

impl LatencySample {
    /// Both channels' I/O together. The worse p99 stands: a host that suffers on one channel suffers.
    #[must_use]
    pub const fn worst(self, other: Self) -> Self {
        let p99_us = if self.p99_us > other.p99_us { self.p99_us } else { other.p99_us };
        Self { p99_us, count: self.count.saturating_add(other.count) }
    }

    /// Two spans of time together: the p99 of both lies between theirs, nearer to the one with more I/O.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        let weight = |sample: Self| u64::from(sample.p99_us) * u64::from(sample.count);
        let count = u64::from(self.count) + u64::from(later.count);
        let p99_us = (weight(self) + weight(later)).checked_div(count).unwrap_or(0);
        Self { p99_us: p99_us as u32, count: self.count.saturating_add(later.count) }
    }
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self::new()
    }
}

impl LatencyHistogram {
    /// With nothing in it.
    #[must_use]
    pub const fn new() -> Self {
        Self { buckets: [0; BUCKETS], count: 0 }
    }

    /// One I/O took this long.
    #[inline]
    pub fn record(&mut self, latency_us: u32) {
        let bucket = &mut self.buckets[bucket_of(latency_us)];
        *bucket = bucket.saturating_add(1);
        self.count = self.count.saturating_add(1);
    }

    /// I/Os in it.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// 99 of 100 I/Os took no longer than about this, to a quarter; 0 with nothing in it.
    #[must_use]
    pub fn p99_us(&self) -> u32 {
        // Summed anew: where a bucket or the count saturated, they do not add up.
        let total: u64 = self.buckets.iter().map(|&held| u64::from(held)).sum();
        let rank = (total * 99).div_ceil(100);
        let mut below = 0;
        for (index, &held) in self.buckets.iter().enumerate() {
            let held = u64::from(held);
            if held > 0 && below + held >= rank {
                // Spread evenly within the bucket, or the p99 would jump by a quarter at its ends.
                let (low, width) = (low_end_us(index), low_end_us(index + 1) - low_end_us(index));
                return (low + (width - 1) * (rank - below) / held) as u32;
            }
            below += held;
        }
        0
    }

    /// What it says so far.
    #[must_use]
    pub fn sample(&self) -> LatencySample {
        LatencySample { p99_us: self.p99_us(), count: self.count }
    }

    /// Adds what the other holds.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine = mine.saturating_add(*theirs);
        }
        self.count = self.count.saturating_add(other.count);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::new();
    }
}

/// The bucket of a latency; the last one takes everything beyond.
#[inline]
const fn bucket_of(latency_us: u32) -> usize {
    if latency_us < PER_OCTAVE as u32 {
        return latency_us as usize;
    }
    let octave = latency_us.ilog2() as usize;
    let part = (latency_us >> (octave - 2)) as usize % PER_OCTAVE;
    let bucket = (octave - 1) * PER_OCTAVE + part;
    if bucket < BUCKETS { bucket } else { BUCKETS - 1 }
}

/// The lowest latency of a bucket.
const fn low_end_us(bucket: usize) -> u64 {
    if bucket < PER_OCTAVE {
        return bucket as u64;
    }
    ((PER_OCTAVE + bucket % PER_OCTAVE) as u64) << (bucket / PER_OCTAVE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_follow_each_other() {
        for bucket in 0..BUCKETS {
            assert_eq!(bucket_of(low_end_us(bucket) as u32), bucket);
            if bucket > 0 {
                assert_eq!(bucket_of(low_end_us(bucket) as u32 - 1), bucket - 1);
            }
        }
        assert_eq!(bucket_of(u32::MAX), BUCKETS - 1);
        assert!(low_end_us(BUCKETS) > 30_000_000);
    }

    #[test]
    fn within_a_bucket_the_p99_is_where_its_rank_is() {
        let mut histogram = LatencyHistogram::new();
        // The bucket from 896 to 1023.
        histogram.record(1000);
        assert_eq!(histogram.sample(), LatencySample { p99_us: 1023, count: 1 });
        (0..199).for_each(|_| histogram.record(1000));
        assert_eq!(histogram.sample(), LatencySample { p99_us: 896 + 125, count: 200 });
    }

    #[test]
    fn one_outlier_in_a_thousand_does_not_count_and_two_in_a_hundred_do() {
        let mut histogram = LatencyHistogram::new();
        (0..999).for_each(|_| histogram.record(100));
        histogram.record(9_000);
        assert!((96..112).contains(&histogram.p99_us()), "{}", histogram.p99_us());
        histogram.clear();
        assert_eq!(histogram.sample(), LatencySample::default());
        (0..98).for_each(|_| histogram.record(100));
        (0..2).for_each(|_| histogram.record(9_000));
        assert!((8_192..10_240).contains(&histogram.p99_us()), "{}", histogram.p99_us());
    }

    #[test]
    fn spans_and_channels_are_put_together() {
        let (busy, calm) = (LatencySample { p99_us: 400, count: 30 }, LatencySample { p99_us: 100, count: 10 });
        assert_eq!(busy.worst(calm), LatencySample { p99_us: 400, count: 40 });
        assert_eq!(calm.then(busy), LatencySample { p99_us: 325, count: 40 });
        assert_eq!(LatencySample::default().then(busy), busy);
        assert_eq!(LatencySample::default().then(LatencySample::default()), LatencySample::default());
    }

    proptest! {
        #[test]
        fn p99_is_within_a_quarter(mut latencies in prop::collection::vec(0_u32..30_000_000, 1..300)) {
            let mut histogram = LatencyHistogram::new();
            latencies.iter().for_each(|&latency| histogram.record(latency));
            latencies.sort_unstable();
            let exact = latencies[(latencies.len() * 99).div_ceil(100) - 1];
            prop_assert!(histogram.p99_us().abs_diff(exact) <= exact / 4);
        }

        #[test]
        fn merged_is_as_recorded_together(
            left in prop::collection::vec(any::<u32>(), 0..50),
            right in prop::collection::vec(any::<u32>(), 0..50),
        ) {
            let of = |latencies: &[u32]| {
                let mut histogram = LatencyHistogram::new();
                latencies.iter().for_each(|&latency| histogram.record(latency));
                histogram
            };
            let mut merged = of(&left);
            merged.merge(&of(&right));
            prop_assert_eq!(merged, of(&[left, right].concat()));
        }
    }
}
