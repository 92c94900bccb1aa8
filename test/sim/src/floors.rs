//! How often every cell of the coverage has to be hit.
//!
//! A cell below its floor fails the run: whatever made it rare took the test away from the engine that is to be tested
//! there. A floor is about a quarter of the hits in as many histories as a usual run has; 0 stands in cells that are
//! possible and rarer than that can be relied on.

use crate::coverage::{Coverage, HAPPENINGS, STATES, WRONGS};
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
/// MarkAhead has floors of 0: histories have no streams of writes that are long enough for regions to be marked ahead.
const FLOORS: &str = "
Unwritten        Write        560    160   2000    290
Unwritten        Unmap        170     45    610     89
Unwritten        Read        6600    100   1300    180
Unwritten        MarkAhead      0      0      0      0
Unwritten        Clear        990    200    480     35
Unwritten        Resync      1000    180   1700    250
Unwritten        LegLost     1400   1200   2900    990
Unwritten        LegBack     1100    200     63     13
Unwritten        Abort          4      6    110     15
Unwritten        Crash       1400    690   3900    990
Clean            Write       1800    880  10000    710
Clean            Unmap        550    260   3300    220
Clean            Read       81000    610   7100    460
Clean            MarkAhead      0      0      0      0
Clean            Clear      14000   3000   5000    310
Clean            Resync     38000   2600    360     68
Clean            LegLost     2800   2700   8800   2200
Clean            LegBack    10000   2200    710     75
Clean            Abort         12     17    360     39
Clean            Crash       3500   2800  16000   2500
Marking          Write        100     47    660     85
Marking          Unmap         34     14    190     27
Marking          Read          79     27    450     65
Marking          MarkAhead      0      0      0      0
Marking          Clear          -      -      -      -
Marking          Resync        18      3      0      0
Marking          LegLost        5      4    140     46
Marking          LegBack       19      5      5      3
Marking          Abort          0      7    110     19
Marking          Crash         74     32    440     82
Dirty            Write       2200    280  14000   1200
Dirty            Unmap        580     76   4000    330
Dirty            Read       11000    190   9700    820
Dirty            MarkAhead      0      0      0      0
Dirty            Clear          -      -      -      -
Dirty            Resync     16000   1100    200     47
Dirty            LegLost      110    120   4600    680
Dirty            LegBack     6700   1200    470     91
Dirty            Abort         16     33   1200    130
Dirty            Crash       1300    210   9600    960
Zeroed           Write        150     15    880     84
Zeroed           Unmap         50      6    270     23
Zeroed           Read        1100     13    600     53
Zeroed           MarkAhead      0      0      0      0
Zeroed           Clear          -      -      -      -
Zeroed           Resync       620     74      8      0
Zeroed           LegLost        6      7    260     38
Zeroed           LegBack      400     94     35      0
Zeroed           Abort          0      0     10      0
Zeroed           Crash         97     13    550     49
Flushing         Write        460     70   3200    270
Flushing         Unmap        120     19    920     85
Flushing         Read        4500     46   2100    180
Flushing         MarkAhead      0      0      0      0
Flushing         Clear          -      -      -      -
Flushing         Resync      5600    370     62     18
Flushing         LegLost       29     33   1500    350
Flushing         LegBack     2300    420    150     39
Flushing         Abort          4      6    150     13
Flushing         Crash        340     50   2400    260
FlushingZeroed   Write         40      3    260     29
FlushingZeroed   Unmap         12      0     85      6
FlushingZeroed   Read         520      3    170     19
FlushingZeroed   MarkAhead      0      0      0      0
FlushingZeroed   Clear          -      -      -      -
FlushingZeroed   Resync       350     27      9      0
FlushingZeroed   LegLost        0      0    120     29
FlushingZeroed   LegBack      160     28     15      4
FlushingZeroed   Abort          0      0      0      0
FlushingZeroed   Crash         31      0    200     25
Cleaning         Write        120      5    800    110
Cleaning         Unmap         38      3    220     34
Cleaning         Read         720      0    530     74
Cleaning         MarkAhead      0      0      0      0
Cleaning         Clear          -      -      -      -
Cleaning         Resync      2500    120     11      3
Cleaning         LegLost        3      4    300    120
Cleaning         LegBack      770    110     24      4
Cleaning         Abort          0      0     41     10
Cleaning         Crash         97      7    630    100
CleaningZeroed   Write         16      0     89     10
CleaningZeroed   Unmap          3      0     26      0
CleaningZeroed   Read          61      0     52      8
CleaningZeroed   MarkAhead      0      0      0      0
CleaningZeroed   Clear          -      -      -      -
CleaningZeroed   Resync       120      5      0      0
CleaningZeroed   LegLost        0      0     28     17
CleaningZeroed   LegBack       48      6      0      0
CleaningZeroed   Abort          0      0      4      0
CleaningZeroed   Crash         14      0     66     14
NoSync           Write       1800    420  19000    910
NoSync           Unmap        510    130   5600    260
NoSync           Read        1100    290  13000    630
NoSync           MarkAhead      0      0      0      0
NoSync           Clear          -      -      -      -
NoSync           Resync      1800    280    380     49
NoSync           LegLost      780    960  12000   1700
NoSync           LegBack     3700    580    250     21
NoSync           Abort         10     26   1500    110
NoSync           Crash       2000   1500  30000   3000
Refused          Write          0      0     25      4
Refused          Unmap          0      0      8      0
Refused          Read           0      0     15      0
Refused          MarkAhead      0      0      0      0
Refused          Clear          -      -      -      -
Refused          Resync         0      0      0      0
Refused          LegLost        0      0      7      0
Refused          LegBack        0      0      0      0
Refused          Abort          0      0      0      0
Refused          Crash          0      0     11      0
RefusedUnwritten Write          0      0      8      0
RefusedUnwritten Unmap          0      0      4      0
RefusedUnwritten Read           0      0      6      0
RefusedUnwritten MarkAhead      0      0      0      0
RefusedUnwritten Clear          -      -      -      -
RefusedUnwritten Resync         0      0      0      0
RefusedUnwritten LegLost        0      0      0      0
RefusedUnwritten LegBack        0      0      0      0
RefusedUnwritten Abort          0      0      0      0
RefusedUnwritten Crash          0      0      5      0
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
    fn a_cell_below_its_floor_is_named() {
        let missed = missed(&Coverage::default(), SEEDS);
        assert!(missed.iter().any(|cell| cell.starts_with("Clean × Crash × Nothing: 0 hits")));
        assert!(super::missed(&Coverage::default(), HISTORIES_MIN - 1).is_empty());
    }
}
