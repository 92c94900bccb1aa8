//! Latency percentiles from SPDK's bdev_get_histogram, whose buckets are the same in all releases.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// A histogram of ticks.
pub struct Histogram {
    counts: Vec<u64>,
    /// log2 of the buckets in a range.
    shift: u32,
    /// The range of the first bucket.
    first_range: u32,
    ticks_per_us: f64,
}

impl Histogram {
    /// From the answer of bdev_get_histogram.
    pub fn from_answer(answer: &Value) -> Result<Histogram> {
        let text = answer["histogram"].as_str().context("no histogram in the answer")?;
        let bytes = STANDARD.decode(text).context("the histogram is no base64")?;
        let (counts, rest) = bytes.as_chunks::<8>();
        ensure!(rest.is_empty(), "the histogram ends within a bucket");
        // 20.07 says bucket_shift, later ones granularity and which ranges they keep.
        let shift = answer["granularity"].as_u64().or(answer["bucket_shift"].as_u64());
        let rate = answer["tsc_rate"].as_f64().context("no tsc_rate in the answer")?;
        Ok(Histogram {
            counts: counts.iter().map(|c| u64::from_ne_bytes(*c)).collect(),
            shift: u32::try_from(shift.context("no bucket_shift or granularity in the answer")?)?,
            first_range: answer["min_range"].as_u64().unwrap_or(0) as u32,
            ticks_per_us: rate / 1e6,
        })
    }

    /// Its number of I/Os.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The latency that `percent` of the I/Os did not exceed, to one part in 2^shift; `None` without I/Os.
    pub fn percentile_us(&self, percent: f64) -> Option<f64> {
        let total = self.count();
        let wanted = (total as f64 * percent / 100.0).ceil().max(1.0) as u64;
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += count;
            total > 0 && seen >= wanted
        })?;
        Some(self.upper_ticks(at) as f64 / self.ticks_per_us)
    }

    /// Where the values of a bucket end: range 0 and 1 have one value a bucket, each further range twice as many.
    fn upper_ticks(&self, at: usize) -> u64 {
        let range = (at >> self.shift) as u32 + self.first_range;
        let index = (at as u64 & ((1 << self.shift) - 1)) + 1;
        match range {
            0 => index,
            _ => (1 << (range + self.shift - 1)) + (index << (range - 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(counts: &[u64], more: Value) -> Value {
        let bytes: Vec<u8> = counts.iter().flat_map(|c| c.to_ne_bytes()).collect();
        let mut answer = json!({"histogram": STANDARD.encode(bytes), "tsc_rate": 1_000_000});
        for (key, value) in more.as_object().expect("an object") {
            answer[key] = value.clone();
        }
        answer
    }

    #[test]
    fn percentiles_are_the_upper_ends_of_buckets() {
        // Two buckets a range: 0, 1 | 2, 3 | 4-5, 6-7 | 8-11, 12-15.
        let h = Histogram::from_answer(&answer(&[0, 50, 0, 0, 0, 49, 1, 0], json!({"bucket_shift": 1}))).expect("h");
        assert_eq!(h.count(), 100);
        assert_eq!(h.percentile_us(50.0), Some(2.0));
        assert_eq!(h.percentile_us(99.0), Some(8.0));
        assert_eq!(h.percentile_us(100.0), Some(12.0));
    }

    #[test]
    fn ranges_left_out_at_the_low_end_count() {
        let h = Histogram::from_answer(&answer(&[1, 0], json!({"granularity": 1, "min_range": 3}))).expect("h");
        assert_eq!(h.percentile_us(50.0), Some(12.0));
    }

    #[test]
    fn no_ios_no_percentile_and_rubbish_is_an_error() {
        let h = Histogram::from_answer(&answer(&[0, 0], json!({"bucket_shift": 1}))).expect("h");
        assert_eq!(h.percentile_us(50.0), None);
        assert!(Histogram::from_answer(&json!({"histogram": "AAAA", "tsc_rate": 1, "bucket_shift": 7})).is_err());
    }
}
