//! What the maps of several legs say together.

use crate::format::decode_unit;
use crate::format::{Geometry, MapKind, Superblock};
use crate::mutant::mutant;
use crate::{Bits, MAX_LEGS};
use uuid::Uuid;

/// The maps of a mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maps {
    /// Dirty regions.
    pub intent: Bits,
    /// Regions that were ever written.
    pub written: Bits,
    /// Regions that the leg of each slot lacks; `None`: not known, so all of them.
    pub out_of_sync: [Option<Bits>; MAX_LEGS],
    /// Units that are not the same on all legs: they are written anew before anything else.
    pub unsure: Vec<(MapKind, u32)>,
}

impl Maps {
    /// Maps of a new mirror, to be written to its legs: nothing dirty, all written or nothing written.
    #[must_use]
    pub fn of_new(geometry: &Geometry, written: bool) -> Self {
        let mut maps = Self::empty(geometry.regions());
        if written {
            maps.written.set_all();
        }
        maps.unsure = Self::all_units(geometry);
        maps
    }

    /// Maps of a mirror whose maps are lost: everything counts as written and dirty, and every leg that is out lacks it all.
    #[must_use]
    pub fn of_lost(geometry: &Geometry) -> Self {
        let mut maps = Self::of_new(geometry, true);
        maps.intent.set_all();
        maps.out_of_sync = std::array::from_fn(|_| Some(Bits::new(geometry.regions(), true)));
        maps
    }

    /// Maps of a mirror whose log device is lost or not there, for a start that goes by this superblock. Nothing is dirty only
    /// if that says so and knew that the log was lost: it then says so only of a mirror that was written all over. Whoever
    /// still had the log may have left regions that were never written, whose copies differ.
    #[must_use]
    pub fn without_log(geometry: &Geometry, head: &Superblock) -> Self {
        let mut maps = Self::of_lost(geometry);
        if head.clean && head.log_lost {
            maps.intent = Bits::new(geometry.regions(), false);
        }
        maps
    }

    fn empty(regions: u32) -> Self {
        Self {
            intent: Bits::new(regions, false),
            written: Bits::new(regions, false),
            out_of_sync: std::array::from_fn(|_| Some(Bits::new(regions, false))),
            unsure: Vec::new(),
        }
    }

    /// The names of all units.
    #[must_use]
    pub fn all_units(geometry: &Geometry) -> Vec<(MapKind, u32)> {
        MapKind::all().flat_map(|kind| (0..geometry.units_per_map()).map(move |unit| (kind, unit))).collect()
    }

    /// Merges what was read, of units that carry this uuid ([`crate::Config::maps_uuid`]): for each unit, its block from every leg in sync (or from the log), `None` where it could not be
    /// read.
    ///
    /// A unit is the OR of its valid copies: a set that was being written when the power failed is kept, and a clear that was
    /// is undone, which costs a copy and no data. Only a unit that is valid nowhere is all set; where that is one of the
    /// written map, its regions are dirty too, since nobody knows whether their copies are alike.
    #[must_use]
    pub fn merge<'a>(
        uuid: Uuid,
        geometry: &Geometry,
        mut copies: impl FnMut(MapKind, u32) -> Vec<Option<&'a [u8]>>,
    ) -> Self {
        let mut maps = Self::empty(geometry.regions());
        for (kind, index) in Self::all_units(geometry) {
            let blocks = copies(kind, index);
            maps.merge_unit(uuid, geometry, kind, index, &blocks);
        }
        maps
    }

    fn merge_unit(&mut self, uuid: Uuid, geometry: &Geometry, kind: MapKind, index: u32, blocks: &[Option<&[u8]>]) {
        let decoded: Vec<Option<Vec<u64>>> = blocks
            .iter()
            .map(|block| Some(decode_unit(uuid, kind, index, (*block)?).ok()?.words().collect()))
            .collect();
        let valid: Vec<&Vec<u64>> = decoded.iter().flatten().collect();
        if valid.len() < decoded.len() || valid.windows(2).any(|pair| pair[0] != pair[1]) || valid.is_empty() {
            self.unsure.push((kind, index));
        }
        let lost = valid.is_empty();
        for bit in 0..geometry.unit_bits() {
            let Some(region) = geometry.region_at(index, bit) else { break };
            let word = bit as usize / 64;
            let set = valid.iter().any(|words| words[word] >> (bit % 64) & 1 != 0);
            if set || (lost && !mutant!(LostUnitIsClear)) {
                self.set(kind, region);
                if lost && kind == MapKind::Written {
                    self.set(MapKind::Intent, region);
                }
            }
        }
        if lost && kind == MapKind::Written {
            self.unsure.push((MapKind::Intent, index));
        }
    }

    fn set(&mut self, kind: MapKind, region: u32) {
        match kind {
            MapKind::Intent => {
                self.intent.set(region);
            }
            MapKind::Written => {
                self.written.set(region);
            }
            MapKind::OutOfSync(slot) => {
                if let Some(map) = &mut self.out_of_sync[slot.index()] {
                    map.set(region);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Slot;
    use crate::format::encode_unit;

    fn geometry() -> Geometry {
        Geometry { block_bytes: 512, blocks: 1000, region_blocks: 8, data_offset_blocks: 4096 }
    }

    fn unit(mirror: Uuid, kind: MapKind, words: &[u64]) -> Vec<u8> {
        let mut block = vec![0; 512];
        encode_unit(mirror, kind, 0, words, &mut block);
        block
    }

    #[test]
    fn a_bit_of_any_leg_counts_and_the_unit_is_written_anew() {
        let mirror = Uuid::from_u128(7);
        let (a, b) = (unit(mirror, MapKind::Intent, &[0b01]), unit(mirror, MapKind::Intent, &[0b10]));
        let other = |kind| unit(mirror, kind, &[u64::MAX, u64::MAX]);
        let others: Vec<_> = MapKind::all().map(|kind| (kind, other(kind))).collect();
        let maps = Maps::merge(mirror, &geometry(), |kind, _| match kind {
            MapKind::Intent => vec![Some(&a[..]), Some(&b[..])],
            _ => {
                let block = &others.iter().find(|(other, _)| *other == kind).unwrap().1;
                vec![Some(&block[..]), Some(&block[..])]
            }
        });
        assert_eq!(maps.intent.iter().collect::<Vec<_>>(), [0, 1]);
        assert_eq!(maps.unsure, [(MapKind::Intent, 0)]);
        assert_eq!(maps.written.count(), 125);
    }

    #[test]
    fn a_unit_valid_nowhere_is_all_set() {
        let mirror = Uuid::from_u128(7);
        let foreign = unit(Uuid::from_u128(8), MapKind::Written, &[0]);
        let maps = Maps::merge(mirror, &geometry(), |_, _| vec![Some(&foreign[..]), None]);
        assert_eq!(maps.intent.count(), 125);
        assert_eq!(maps.written.count(), 125);
        assert_eq!(maps.out_of_sync[Slot::new(3).unwrap().index()].as_ref().unwrap().count(), 125);
    }

    #[test]
    fn a_written_unit_valid_nowhere_makes_its_regions_dirty() {
        let mirror = Uuid::from_u128(7);
        let blocks: Vec<_> = MapKind::all().map(|kind| (kind, unit(mirror, kind, &[0]))).collect();
        let maps = Maps::merge(mirror, &geometry(), |kind, _| {
            let block = &blocks.iter().find(|(other, _)| *other == kind).unwrap().1;
            vec![if kind == MapKind::Written { None } else { Some(&block[..]) }]
        });
        assert_eq!(maps.intent.count(), 125);
        assert_eq!(maps.written.count(), 125);
        assert_eq!(maps.unsure, [(MapKind::Written, 0), (MapKind::Intent, 0)]);
    }
}
