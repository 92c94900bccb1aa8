//! How often every cell of the coverage has to be hit.
//!
//! A cell below its floor fails the run: whatever made it rare took the test away from the engine that is to be tested
//! there. A floor is about a quarter of the hits in as many histories as a usual run has; 0 stands in cells that are
//! possible and rarer than that can be relied on.

use crate::coverage::{Coverage, DEEDS, HAPPENINGS, STATES, WRONGS};
use crate::run::SEEDS;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// With fewer histories the hits of a cell say little.
const HISTORIES_MIN: u64 = 2_000;

/// Floors for a usual run. Columns: nothing is wrong, a leg is out, I/O fails, I/O hangs.
///
/// Cells with `-` cannot occur. Clear: what is cleared becomes Clean, or Unwritten if it reads as zeros, and is counted
/// as that; no other state comes out of a clearing.
///
/// A region is seldom marked ahead when another write has made it something else than clean by then.
const FLOORS: &str = "
Unwritten        Write        560    160   2000    290
Unwritten        Unmap        170     22    610     44
Unwritten        Read        6600    100   1300    180
Unwritten        MarkAhead     17      1     60      7
Unwritten        Clear        990    200    480     17
Unwritten        Resync      1000    180   1700    250
Unwritten        LegLost     1400   1200   2900    990
Unwritten        LegBack     1100    200     31      6
Unwritten        Abort          1      1    110      7
Unwritten        Crash       1400    690   3900    990
Clean            Write       1800    880  10000    710
Clean            Unmap        550    260   3300    220
Clean            Read       81000    610   7100    460
Clean            MarkAhead     77     24    410     32
Clean            Clear      14000   3000   5000    310
Clean            Resync     38000   2600    360     34
Clean            LegLost     2800   2700   8800   2200
Clean            LegBack    10000   2200    710     37
Clean            Abort          6      8    360     19
Clean            Crash       3500   2800  16000   2500
Marking          Write        100     23    660     42
Marking          Unmap         17      7    190     13
Marking          Read          39     13    450     32
Marking          MarkAhead      0      0      2      0
Marking          Clear          -      -      -      -
Marking          Resync         9      0      0      0
Marking          LegLost        1      1    140     23
Marking          LegBack        9      1      1      0
Marking          Abort          0      1    110      9
Marking          Crash         37     16    440     41
Dirty            Write       2200    280  14000   1200
Dirty            Unmap        580     38   4000    330
Dirty            Read       11000    190   9700    820
Dirty            MarkAhead      4      1     10      0
Dirty            Clear          -      -      -      -
Dirty            Resync     16000   1100    200     23
Dirty            LegLost      110    120   4600    680
Dirty            LegBack     6700   1200    470     45
Dirty            Abort          8     16   1200    130
Dirty            Crash       1300    210   9600    960
Zeroed           Write        150      7    880     42
Zeroed           Unmap         25      1    270     11
Zeroed           Read        1100      6    600     26
Zeroed           MarkAhead      0      0      0      0
Zeroed           Clear          -      -      -      -
Zeroed           Resync       620     37      2      0
Zeroed           LegLost        1      1    260     19
Zeroed           LegBack      400     47     17      0
Zeroed           Abort          0      0      2      0
Zeroed           Crash         48      6    550     24
Flushing         Write        460     35   3200    270
Flushing         Unmap        120      9    920     42
Flushing         Read        4500     23   2100    180
Flushing         MarkAhead      0      0      2      0
Flushing         Clear          -      -      -      -
Flushing         Resync      5600    370     31      9
Flushing         LegLost       14     16   1500    350
Flushing         LegBack     2300    420    150     19
Flushing         Abort          1      1    150      6
Flushing         Crash        340     25   2400    260
FlushingZeroed   Write         20      0    260     14
FlushingZeroed   Unmap          6      0     42      1
FlushingZeroed   Read         520      0    170      9
FlushingZeroed   MarkAhead      0      0      0      0
FlushingZeroed   Clear          -      -      -      -
FlushingZeroed   Resync       350     13      2      0
FlushingZeroed   LegLost        0      0    120     14
FlushingZeroed   LegBack      160     14      7      1
FlushingZeroed   Abort          0      0      0      0
FlushingZeroed   Crash         15      0    200     12
Cleaning         Write         59      1    800    110
Cleaning         Unmap         19      0    220     17
Cleaning         Read          37      0    290     37
Cleaning         MarkAhead      0      0      0      0
Cleaning         Clear          -      -      -      -
Cleaning         Resync      2500    120      2      0
Cleaning         LegLost        0      1    300    120
Cleaning         LegBack      290     32      3      1
Cleaning         Abort          0      0     20      2
Cleaning         Crash         48      1    630    100
CleaningZeroed   Write          8      0     44      2
CleaningZeroed   Unmap          0      0     13      0
CleaningZeroed   Read           4      0     26      2
CleaningZeroed   MarkAhead      0      0      0      0
CleaningZeroed   Clear          -      -      -      -
CleaningZeroed   Resync       120      1      0      0
CleaningZeroed   LegLost        0      0     14      8
CleaningZeroed   LegBack       19      1      0      0
CleaningZeroed   Abort          0      0      1      0
CleaningZeroed   Crash          7      0     33      7
NoSync           Write       1800    420  19000    910
NoSync           Unmap        510    130   5600    260
NoSync           Read        1100    290  13000    630
NoSync           MarkAhead      0      0      0      0
NoSync           Clear          -      -      -      -
NoSync           Resync      1800    280    380     24
NoSync           LegLost      780    960  12000   1700
NoSync           LegBack     3700    580    250     10
NoSync           Abort          2     13   1500    110
NoSync           Crash       2000   1500  30000   3000
Refused          Write          0      0     12      1
Refused          Unmap          0      0      2      0
Refused          Read           0      0      7      0
Refused          MarkAhead      0      0      0      0
Refused          Clear          -      -      -      -
Refused          Resync         0      0      0      0
Refused          LegLost        0      0      1      0
Refused          LegBack        0      0      0      0
Refused          Abort          0      0      0      0
Refused          Crash          0      0      2      0
RefusedUnwritten Write          0      0      2      0
RefusedUnwritten Unmap          0      0      1      0
RefusedUnwritten Read           0      0      1      0
RefusedUnwritten MarkAhead      0      0      0      0
RefusedUnwritten Clear          -      -      -      -
RefusedUnwritten Resync         0      0      0      0
RefusedUnwritten LegLost        0      0      0      0
RefusedUnwritten LegBack        0      0      0      0
RefusedUnwritten Abort          0      0      0      0
RefusedUnwritten Crash          0      0      1      0
Unread           Write          0      0      0      0
Unread           Unmap          0      0      0      0
Unread           Read           0      0      0      0
Unread           MarkAhead      0      0      0      0
Unread           Clear          -      -      -      -
Unread           Resync         0      0      0      0
Unread           LegLost        0      0      0      0
Unread           LegBack        0      0      0      0
Unread           Abort          0      0      0      0
Unread           Crash          0      0      0      0
";

/// Floors of deeds.
const DEED_FLOORS: &str = "
WriteRefused      500
WriteDeserved     700
OtherDeserved     900
Busy            14000
FlushWithout     1500
LegReplaced       270
LegAdded          110
OldLegRefused      10
OldLegRejected     40
NewLegInSync      300
WriteOverUnits    600
UnitLost            3
StartFromLog      700
Suspended        1700
OwnerWentOn       270
TakenOver          80
FormerWoke        230
";

fn deed_floor(name: &str) -> u64 {
    let row = DEED_FLOORS.lines().find_map(|line| line.strip_prefix(name).filter(|rest| rest.starts_with(' ')));
    row.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
}

/// Floors by state and happening.
fn floors() -> BTreeMap<(&'static str, &'static str), [Option<u64>; 4]> {
    let rows = FLOORS.lines().filter(|line| !line.is_empty());
    rows.map(|line| {
        let mut words = line.split_whitespace();
        let name = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut cells = [None; 4];
        cells.iter_mut().zip(words).for_each(|(cell, word)| *cell = word.parse().ok());
        (name, cells)
    })
    .collect()
}

/// Cells that were hit too rarely in so many histories, or that cannot be hit and were.
pub fn missed(coverage: &Coverage, histories: u64) -> Vec<String> {
    if histories < HISTORIES_MIN {
        return Vec::new();
    }
    let mut missed = Vec::new();
    each_row(|state, happening, cells| {
        for (at, wrong) in WRONGS.into_iter().enumerate() {
            let hits = coverage.hits(STATES[state], HAPPENINGS[happening], wrong);
            let cell = format!("{:?} × {:?} × {wrong:?}", STATES[state], HAPPENINGS[happening]);
            match cells[at].map(|floor| floor * histories.min(SEEDS) / SEEDS) {
                Some(floor) if hits < floor => missed.push(format!("{cell}: {hits} hits, the floor is {floor}")),
                None if hits > 0 => missed.push(format!("{cell}: {hits} hits of what cannot occur")),
                _ => {}
            }
        }
    });
    for deed in DEEDS {
        let (hits, floor) = (coverage.noted(deed), deed_floor(&format!("{deed:?}")) * histories.min(SEEDS) / SEEDS);
        if hits < floor {
            missed.push(format!("{deed:?}: {hits} hits, the floor is {floor}"));
        }
    }
    missed
}

/// The coverage, for a person.
pub fn table(coverage: &Coverage) -> String {
    let mut table = format!(
        "{:<16} {:<9} {:>8} {:>8} {:>8} {:>8}\n",
        "region", "happening", "nothing", "leg out", "errors", "hangs"
    );
    each_row(|state, happening, cells| {
        let (state, happening) = (STATES[state], HAPPENINGS[happening]);
        // Writing to a string does not fail.
        let _ = write!(table, "{:<16} {:<9}", format!("{state:?}"), format!("{happening:?}"));
        for (wrong, floor) in WRONGS.into_iter().zip(cells) {
            let hits = coverage.hits(state, happening, wrong);
            let text = if floor.is_none() && hits == 0 { "-".into() } else { hits.to_string() };
            let _ = write!(table, " {text:>8}");
        }
        table.push('\n');
    });
    for deed in DEEDS {
        let _ = writeln!(table, "{:<26} {:>8}", format!("{deed:?}"), coverage.noted(deed));
    }
    table
}

/// Calls back with the indices and floors of each row.
fn each_row(mut row: impl FnMut(usize, usize, [Option<u64>; 4])) {
    let floors = floors();
    for (at, state) in STATES.iter().enumerate() {
        let state = format!("{state:?}");
        for (other, happening) in HAPPENINGS.iter().enumerate() {
            let happening = format!("{happening:?}");
            row(at, other, floors.get(&(state.as_str(), happening.as_str())).copied().unwrap_or([Some(0); 4]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_has_its_floor() {
        let floors = floors();
        assert_eq!(floors.len(), STATES.len() * HAPPENINGS.len());
        for line in FLOORS.lines().filter(|line| !line.is_empty()) {
            assert_eq!(line.split_whitespace().count(), 6, "{line}");
        }
        each_row(|state, happening, _| {
            let name = (format!("{:?}", STATES[state]), format!("{:?}", HAPPENINGS[happening]));
            assert!(floors.contains_key(&(name.0.as_str(), name.1.as_str())), "{name:?}");
        });
    }

    #[test]
    fn every_deed_has_its_floor() {
        let lines: Vec<_> = DEED_FLOORS.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines.len(), DEEDS.len());
        for deed in DEEDS {
            assert!(lines.iter().any(|line| line.split_whitespace().next() == Some(&format!("{deed:?}"))), "{deed:?}");
        }
    }

    #[test]
    fn a_cell_below_its_floor_is_named() {
        let missed = missed(&Coverage::default(), SEEDS);
        assert!(missed.iter().any(|cell| cell.starts_with("Clean × Crash × Nothing: 0 hits")));
        assert!(super::missed(&Coverage::default(), HISTORIES_MIN - 1).is_empty());
    }
}
