//! A leg that comes and goes: when it is taken back, when not any more, and when a spare takes its place.

/// Losses that are remembered: the largest `flap_limit`.
pub const FLAP_LIMIT_MAX: u32 = 16;

/// The options that govern it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlapOptions {
    /// Whether a leg that returns is taken back without being asked for.
    pub auto_readd: bool,
    /// Wait after the first return; doubles with each loss or failed attempt after it.
    pub readd_backoff_ms: u64,
    /// Most that it doubles to.
    pub readd_backoff_max_ms: u64,
    /// So many losses within `flap_window_sec`, and the leg is held out; 1 to [`FLAP_LIMIT_MAX`].
    pub flap_limit: u32,
    /// See `flap_limit`; in service for this long, a leg starts with the first back-off again.
    pub flap_window_sec: u64,
    /// A leg gone for this long is replaced by a spare.
    pub spare_delay_sec: u64,
}

impl Default for FlapOptions {
    fn default() -> Self {
        Self {
            auto_readd: true,
            readd_backoff_ms: 1_000,
            readd_backoff_max_ms: 60_000,
            flap_limit: 5,
            flap_window_sec: 600,
            spare_delay_sec: 60,
        }
    }
}

/// What becomes of a leg that is out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Readd {
    /// Its base bdev has not returned.
    Gone,
    /// Take it back.
    Now,
    /// Take it back then, if it is still there.
    Wait {
        /// When to ask again.
        until_ms: u64,
    },
    /// Lost too often: it stays out until a human says otherwise.
    HeldOut,
    /// `auto_readd` is off: a human has to say so.
    Off,
}

/// How often one leg was lost, and since when it is back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flapping {
    /// When it was lost the last times, latest first; as many as `losses`.
    lost_ms: [u64; FLAP_LIMIT_MAX as usize],
    losses: u32,
    held_out: bool,
    /// Since when it is out of service; `None`: it is in service.
    out_since_ms: Option<u64>,
    /// When its base bdev returned, or an attempt failed: the back-off counts from here.
    returned_ms: Option<u64>,
    /// Times that the back-off doubles.
    doublings: u32,
}

impl Flapping {
    /// A leg that is in service and never was lost.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A leg that was not there when the mirror started. That is no loss, but a spare's delay counts from here.
    #[must_use]
    pub fn absent(now_ms: u64) -> Self {
        Self { out_since_ms: Some(now_ms), ..Self::default() }
    }

    /// The leg is out of service: its base bdev is gone or failed. Whether this loss is the one that holds it out.
    pub fn lost(&mut self, now_ms: u64, options: &FlapOptions) -> bool {
        if self.out_since_ms.is_some() {
            // A second word of the same loss.
            return false;
        }
        if self.losses > 0 {
            let calm = now_ms.saturating_sub(self.lost_ms[0]) >= window_ms(options);
            self.doublings = if calm { 0 } else { self.doublings.saturating_add(1) };
        }
        self.out_since_ms = Some(now_ms);
        self.returned_ms = None;
        self.lost_ms.rotate_right(1);
        self.lost_ms[0] = now_ms;
        self.losses = (self.losses + 1).min(FLAP_LIMIT_MAX);
        let limit = options.flap_limit.clamp(1, FLAP_LIMIT_MAX);
        let oldest_ms = self.lost_ms[limit as usize - 1];
        let too_often = self.losses >= limit && now_ms.saturating_sub(oldest_ms) <= window_ms(options);
        let newly = too_often && !self.held_out;
        self.held_out |= too_often;
        newly
    }

    /// Its base bdev is there again, and the leg is still out of service.
    pub fn returned(&mut self, now_ms: u64) {
        // A second word of the same return must not begin the wait anew.
        self.returned_ms.get_or_insert(now_ms);
    }

    /// Its base bdev, not yet taken back, is gone again. No loss: nothing depended on it.
    pub fn gone(&mut self) {
        self.returned_ms = None;
    }

    /// An attempt to take it back failed: the next one waits twice as long.
    pub fn readd_failed(&mut self, now_ms: u64) {
        self.doublings = self.doublings.saturating_add(1);
        self.returned_ms = Some(now_ms);
    }

    /// It was taken back: it is written again, though not in sync yet.
    pub fn readded(&mut self) {
        self.out_since_ms = None;
        self.returned_ms = None;
    }

    /// A human says that it is good: nothing of the past is held against it any more.
    pub fn reset(&mut self) {
        let (out_since_ms, returned_ms) = (self.out_since_ms, self.returned_ms);
        *self = Self { out_since_ms, returned_ms, ..Self::default() };
    }

    /// What to do with a leg that is out of service.
    #[must_use]
    pub fn decide(&self, now_ms: u64, options: &FlapOptions) -> Readd {
        if self.held_out {
            return Readd::HeldOut;
        }
        let Some(returned_ms) = self.returned_ms else { return Readd::Gone };
        if !options.auto_readd {
            return Readd::Off;
        }
        let until_ms = returned_ms.saturating_add(self.backoff_ms(options));
        if now_ms >= until_ms { Readd::Now } else { Readd::Wait { until_ms } }
    }

    /// Whether a spare is to take its place: it was lost long enough ago that a reboot would be over. Not of a leg that
    /// is about to be taken back: that one needs only what it missed, a spare needs everything.
    #[must_use]
    pub fn spare_is_due(&self, now_ms: u64, options: &FlapOptions) -> bool {
        let returns = matches!(self.decide(now_ms, options), Readd::Now | Readd::Wait { .. });
        let delay_ms = options.spare_delay_sec.saturating_mul(1_000);
        !returns && self.out_since_ms.is_some_and(|since_ms| now_ms.saturating_sub(since_ms) >= delay_ms)
    }

    /// Whether only a human brings it back.
    #[must_use]
    pub const fn is_held_out(&self) -> bool {
        self.held_out
    }

    fn backoff_ms(&self, options: &FlapOptions) -> u64 {
        let factor = 1_u64.checked_shl(self.doublings).unwrap_or(u64::MAX);
        options.readd_backoff_ms.saturating_mul(factor).min(options.readd_backoff_max_ms)
    }
}

const fn window_ms(options: &FlapOptions) -> u64 {
    options.flap_window_sec.saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPTIONS: FlapOptions = FlapOptions {
        auto_readd: true,
        readd_backoff_ms: 1_000,
        readd_backoff_max_ms: 60_000,
        flap_limit: 5,
        flap_window_sec: 600,
        spare_delay_sec: 60,
    };

    #[test]
    fn the_first_return_waits_a_second() {
        let mut leg = Flapping::new();
        assert!(!leg.lost(5_000, &OPTIONS));
        assert_eq!(leg.decide(6_000, &OPTIONS), Readd::Gone);
        leg.returned(7_000);
        leg.returned(7_900);
        assert_eq!(leg.decide(7_999, &OPTIONS), Readd::Wait { until_ms: 8_000 });
        assert_eq!(leg.decide(8_000, &OPTIONS), Readd::Now);
        leg.gone();
        assert_eq!(leg.decide(8_000, &OPTIONS), Readd::Gone);
    }

    #[test]
    fn failed_attempts_double_the_wait_up_to_a_minute() {
        let mut leg = Flapping::new();
        leg.lost(0, &OPTIONS);
        leg.returned(0);
        let waits = [(); 80].map(|()| {
            leg.readd_failed(1_000);
            match leg.decide(1_000, &OPTIONS) {
                Readd::Wait { until_ms } => until_ms - 1_000,
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(waits[..7], [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(waits[79], 60_000);
    }

    #[test]
    fn the_fifth_loss_in_ten_minutes_holds_it_out_until_a_human_resets() {
        let mut leg = Flapping::new();
        for loss in 0..5 {
            assert_eq!(leg.lost(loss * 150_000, &OPTIONS), loss == 4);
            assert!(!leg.lost(loss * 150_000, &OPTIONS), "the same loss told twice");
            leg.returned(loss * 150_000);
            let wait_ms = 1_000 << loss;
            let expected = if loss == 4 { Readd::HeldOut } else { Readd::Now };
            assert_eq!(leg.decide(loss * 150_000 + wait_ms, &OPTIONS), expected);
            if loss < 4 {
                assert_ne!(leg.decide(loss * 150_000 + wait_ms - 1, &OPTIONS), Readd::Now);
                leg.readded();
            }
        }
        assert_eq!(leg.decide(u64::MAX, &OPTIONS), Readd::HeldOut);
        leg.reset();
        assert_eq!(leg.decide(700_000, &OPTIONS), Readd::Now);
        leg.readded();
        assert!(!leg.lost(700_001, &OPTIONS));
    }

    #[test]
    fn five_losses_in_more_than_ten_minutes_do_not() {
        let mut leg = Flapping::new();
        for loss in 0..100 {
            assert!(!leg.lost(loss * 150_001, &OPTIONS));
            leg.readded();
        }
        // After a calm window the back-off is short again.
        leg.lost(20_000_000, &OPTIONS);
        leg.returned(20_000_000);
        assert_eq!(leg.decide(20_000_000, &OPTIONS), Readd::Wait { until_ms: 20_001_000 });
    }

    #[test]
    fn without_auto_readd_a_human_has_to_say_so() {
        let mut leg = Flapping::new();
        leg.lost(0, &OPTIONS);
        leg.returned(0);
        assert_eq!(leg.decide(9_999_999, &FlapOptions { auto_readd: false, ..OPTIONS }), Readd::Off);
    }

    #[test]
    fn a_spare_is_taken_after_a_minute_and_not_in_place_of_a_leg_that_returns() {
        let mut leg = Flapping::new();
        assert!(!leg.spare_is_due(u64::MAX, &OPTIONS));
        leg.lost(1_000, &OPTIONS);
        assert!(!leg.spare_is_due(60_999, &OPTIONS));
        assert!(leg.spare_is_due(61_000, &OPTIONS));
        leg.returned(60_000);
        assert!(!leg.spare_is_due(61_000, &OPTIONS));
        assert!(leg.spare_is_due(61_000, &FlapOptions { auto_readd: false, ..OPTIONS }));
        leg.readded();
        assert!(!leg.spare_is_due(u64::MAX, &OPTIONS));
        assert!(Flapping::absent(5).spare_is_due(60_005, &OPTIONS));
    }

    proptest! {
        #[test]
        fn held_out_exactly_if_the_limit_was_met_within_the_window(
            limit in 1..=FLAP_LIMIT_MAX,
            gaps in prop::collection::vec(0_u64..300_000, 0..60),
        ) {
            let options = FlapOptions { flap_limit: limit, ..OPTIONS };
            let (mut leg, mut now_ms, mut losses) = (Flapping::new(), 0, Vec::new());
            let mut expected = false;
            for gap_ms in gaps {
                now_ms += gap_ms;
                losses.push(now_ms);
                leg.lost(now_ms, &options);
                leg.readded();
                expected |= losses.iter().filter(|&&lost_ms| now_ms - lost_ms <= 600_000).count() >= limit as usize;
                prop_assert_eq!(leg.is_held_out(), expected);
            }
        }
    }
}
