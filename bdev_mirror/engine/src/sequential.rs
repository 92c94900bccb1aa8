//! Sequential writes, noticed early enough that the regions ahead of them are marked before they get there.

use std::ops::RangeInclusive;

/// Streams that a channel keeps apart; the one that was silent longest gives way.
const STREAMS: usize = 8;

/// Writes in a row that make a stream.
const STREAM_WRITES: u8 = 3;

/// A run of writes, each beginning where the one before ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Stream {
    /// Where the next write has to begin.
    next_block: u64,
    /// Regions ahead are looked at again once a write ends beyond this block.
    look_block: u64,
    /// The first region that was not told yet.
    untold: u32,
    /// Writes so far, up to [`STREAM_WRITES`]; 0: the entry is free.
    writes: u8,
}

/// The write streams of one channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SequentialWrites {
    /// Latest first: a single stream is found at the first look.
    streams: [Stream; STREAMS],
    mark_ahead_regions: u32,
}

impl SequentialWrites {
    /// No stream yet; `mark_ahead_regions` 0 tells nothing ever.
    #[must_use]
    pub fn new(mark_ahead_regions: u32) -> Self {
        Self { streams: [Stream::default(); STREAMS], mark_ahead_regions }
    }

    /// A write is submitted. The regions to mark ahead of it, if any: each is told once by a stream, and none that is
    /// not in the mirror. All calls give the same shape of the mirror: `regions` of `1 << region_shift` blocks.
    #[inline]
    pub fn note_write(
        &mut self,
        block: u64,
        blocks: u64,
        region_shift: u32,
        regions: u32,
    ) -> Option<RangeInclusive<u32>> {
        if self.mark_ahead_regions == 0 {
            return None;
        }
        let end = block.saturating_add(blocks);
        let follows = |stream: &Stream| stream.next_block == block && stream.writes > 0;
        let Some(at) = self.streams.iter().position(follows) else {
            self.begin(end);
            return None;
        };
        // Entries between move down one; with one stream there are none.
        self.streams[..=at].rotate_right(1);
        let stream = &mut self.streams[0];
        stream.next_block = end;
        if stream.writes < STREAM_WRITES {
            stream.writes += 1;
            if stream.writes < STREAM_WRITES {
                return None;
            }
        }
        // Almost always the write stays within the region of the last look.
        if end <= stream.look_block { None } else { self.look_ahead(region_shift, regions) }
    }

    /// The first write of what may become a stream.
    fn begin(&mut self, end: u64) {
        self.streams.rotate_right(1);
        self.streams[0] = Stream { next_block: end, writes: 1, ..Stream::default() };
    }

    #[inline(never)]
    fn look_ahead(&mut self, region_shift: u32, regions: u32) -> Option<RangeInclusive<u32>> {
        let stream = &mut self.streams[0];
        let last_block = stream.next_block.checked_sub(1)?;
        let region = last_block.checked_shr(region_shift)?;
        stream.look_block = (region + 1).saturating_mul(1_u64.checked_shl(region_shift)?);
        let region = u32::try_from(region).ok()?;
        let first = region.saturating_add(1).max(stream.untold);
        let last = region.saturating_add(self.mark_ahead_regions).min(regions.checked_sub(1)?);
        (first <= last).then(|| {
            stream.untold = last + 1;
            first..=last
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHIFT: u32 = 7;
    const REGION: u64 = 1 << SHIFT;
    const HALF: u64 = REGION / 2;

    /// A mirror of so many regions.
    struct Mirror {
        regions: u32,
        writes: SequentialWrites,
    }

    impl Mirror {
        fn new(regions: u32, mark_ahead_regions: u32) -> Self {
            Self { regions, writes: SequentialWrites::new(mark_ahead_regions) }
        }

        fn note_write(&mut self, block: u64, blocks: u64) -> Option<RangeInclusive<u32>> {
            self.writes.note_write(block, blocks, SHIFT, self.regions)
        }

        /// What a run of writes of half a region is told, write by write.
        fn run(&mut self, from: u64, count: u64) -> Vec<Option<RangeInclusive<u32>>> {
            (0..count).map(|index| self.note_write(from + index * HALF, HALF)).collect()
        }
    }

    #[test]
    fn the_third_write_tells_two_regions_and_then_each_crossing_one() {
        let told = Mirror::new(100, 2).run(0, 7);
        assert_eq!(told, [None, None, Some(2..=3), None, Some(4..=4), None, Some(5..=5)]);
    }

    #[test]
    fn nothing_beyond_the_last_region() {
        assert_eq!(Mirror::new(4, 2).run(REGION, 6), [None, None, Some(3..=3), None, None, None]);
        assert_eq!(Mirror::new(1, 2).run(0, 5), [const { None }; 5]);
        assert_eq!(Mirror::new(0, 2).run(0, 5), [const { None }; 5]);
        assert_eq!(Mirror::new(9, 0).run(0, 9), [const { None }; 9]);
        assert_eq!(Mirror::new(u32::MAX, u32::MAX).run(0, 3)[2], Some(2..=u32::MAX - 1));
    }

    #[test]
    fn scattered_writes_are_no_stream() {
        let mut writes = Mirror::new(1_000, 2);
        for index in 0..200_u64 {
            assert_eq!(writes.note_write(index * 7_919 % 50_000 * 2, 1), None);
            assert_eq!(writes.note_write(4_000, 8), None, "the same block again and again");
        }
    }

    #[test]
    fn eight_streams_are_kept_apart_and_a_ninth_replaces_the_oldest() {
        let mut writes = Mirror::new(10_000, 2);
        for index in 0..3 {
            for stream in 0..8 {
                let told = writes.note_write(stream * 100 * REGION + index * HALF, HALF);
                assert_eq!(told.is_some(), index == 2);
            }
        }
        writes.note_write(5_000 * REGION, HALF);
        // The first stream gave way; the second did not.
        assert_eq!(writes.note_write(3 * HALF, REGION), None);
        assert_eq!(writes.note_write(200 * REGION + 3 * HALF, REGION), Some(204..=204));
    }

    #[test]
    fn a_write_over_many_regions_tells_what_lies_beyond_it() {
        let mut writes = Mirror::new(1_000, 2);
        writes.run(0, 3);
        assert_eq!(writes.note_write(3 * HALF, 50 * REGION), Some(52..=53));
    }

    proptest! {
        #[test]
        fn each_region_once_in_order_within_the_mirror(
            regions in 0_u32..60,
            ahead in 0_u32..5,
            start in 0_u64..3_000,
            sizes in prop::collection::vec(0_u64..250, 0..80),
        ) {
            let mut writes = Mirror::new(regions, ahead);
            let (mut block, mut untold) = (start, 0);
            for (index, blocks) in sizes.into_iter().enumerate() {
                let told = writes.note_write(block, blocks);
                block += blocks;
                let Some(told) = told else { continue };
                prop_assert!(index >= 2 && !told.is_empty() && *told.start() >= untold && *told.end() < regions);
                let region = (block - 1) / REGION;
                prop_assert!(u64::from(*told.start()) > region);
                prop_assert!(u64::from(*told.end()) <= region + u64::from(ahead));
                untold = told.end() + 1;
            }
        }

        #[test]
        fn a_stream_of_small_writes_finds_every_region_marked(
            start in 0_u64..3_000,
            sizes in prop::collection::vec(1_u64..=REGION, 4..80),
        ) {
            let mut writes = Mirror::new(1_000, 2);
            let (mut block, mut marked) = (start, None::<(u32, u32)>);
            for (index, blocks) in sizes.into_iter().enumerate() {
                let last = ((block + blocks - 1) / REGION) as u32;
                if index >= 3 {
                    let (first_marked, last_marked) = marked.unwrap();
                    prop_assert!(last < first_marked || last <= last_marked);
                }
                if let Some(told) = writes.note_write(block, blocks) {
                    marked = Some((marked.map_or(*told.start(), |(first, _)| first), *told.end()));
                }
                block += blocks;
            }
        }

        #[test]
        fn any_numbers_are_borne(
            writes in prop::collection::vec((any::<u64>(), any::<u64>()), 0..20),
            shift: u32,
            regions: u32,
        ) {
            let mut sequential = SequentialWrites::new(2);
            for (block, blocks) in writes {
                sequential.note_write(block, blocks, shift, regions);
                sequential.note_write(block.saturating_add(blocks), 1, shift, regions);
                sequential.note_write(u64::MAX, 1, shift, regions);
            }
        }
    }
}
