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
Unwritten        Write        640    220   3500    420
Unwritten        Unmap        180     62   1100    120
Unwritten        Read       10000    140   2300    280
Unwritten        MarkAhead      0      0      0      0
Unwritten        Clear       1000    210    480     35
Unwritten        Resync      1100    240   2800    340
Unwritten        LegLost     1500   1300   4800   1300
Unwritten        LegBack     1900    420     71     12
Unwritten        Abort          6      9    190     24
Unwritten        Crash       1500    870   6800   1400
Clean            Write       1900   1000  13000    890
Clean            Unmap        590    300   4000    280
Clean            Read       79000    700   8600    600
Clean            MarkAhead      0      0      0      0
Clean            Clear      13000   2700   4700    290
Clean            Resync     36000   2600    400     63
Clean            LegLost     3100   3000  12000   2700
Clean            LegBack    11000   2400    770     82
Clean            Abort         12     20    420     45
Clean            Crash       3700   3100  20000   3300
Marking          Write        110     59    880    130
Marking          Unmap         39     17    260     37
Marking          Read          84     36    580     94
Marking          MarkAhead      0      0      0      0
Marking          Clear          -      -      -      -
Marking          Resync        21      0      0      0
Marking          LegLost        9      9    230     62
Marking          LegBack       25      4      7      0
Marking          Abort          0      9    140     25
Marking          Crash         85     40    600    130
Dirty            Write       2200    310  14000   1300
Dirty            Unmap        600     82   4100    350
Dirty            Read       10000    210  10000    840
Dirty            MarkAhead      0      0      0      0
Dirty            Clear          -      -      -      -
Dirty            Resync     14000   1000    200     47
Dirty            LegLost      120    130   4500    680
Dirty            LegBack     6100   1100    470     87
Dirty            Abort         17     30   1300    140
Dirty            Crash       1300    220   9600   1000
Zeroed           Write        150     17    940     80
Zeroed           Unmap         49      7    280     20
Zeroed           Read        1100     15    620     57
Zeroed           MarkAhead      0      0      0      0
Zeroed           Clear          -      -      -      -
Zeroed           Resync       630     76      6      0
Zeroed           LegLost        7      7    260     39
Zeroed           LegBack      410     93     39      0
Zeroed           Abort          0      0      9      0
Zeroed           Crash        100     15    570     56
Flushing         Write        480     75   3300    260
Flushing         Unmap        130     22    920     80
Flushing         Read        4400     48   2200    190
Flushing         MarkAhead      0      0      0      0
Flushing         Clear          -      -      -      -
Flushing         Resync      5300    320     70     19
Flushing         LegLost       29     32   1400    340
Flushing         LegBack     2100    380    150     34
Flushing         Abort          4      8    160     13
Flushing         Crash        340     52   2400    270
FlushingZeroed   Write         44      3    270     29
FlushingZeroed   Unmap         13      0     85      8
FlushingZeroed   Read         550      0    180     18
FlushingZeroed   MarkAhead      0      0      0      0
FlushingZeroed   Clear          -      -      -      -
FlushingZeroed   Resync       370     25      9      0
FlushingZeroed   LegLost        0      0    130     32
FlushingZeroed   LegBack      170     30     18      3
FlushingZeroed   Abort          0      0      0      0
FlushingZeroed   Crash         33      3    200     24
Cleaning         Write        120      4    790    110
Cleaning         Unmap         38      0    220     34
Cleaning         Read         640      3    520     78
Cleaning         MarkAhead      0      0      0      0
Cleaning         Clear          -      -      -      -
Cleaning         Resync      2000    100     11      3
Cleaning         LegLost        3      0    310    110
Cleaning         LegBack      640     96     23      0
Cleaning         Abort          0      0     41      8
Cleaning         Crash         94      4    630    100
CleaningZeroed   Write         17      0     83     13
CleaningZeroed   Unmap          4      0     27      3
CleaningZeroed   Read          67      0     60      7
CleaningZeroed   MarkAhead      0      0      0      0
CleaningZeroed   Clear          -      -      -      -
CleaningZeroed   Resync       110      4      0      0
CleaningZeroed   LegLost        0      0     29     14
CleaningZeroed   LegBack       51      4      0      0
CleaningZeroed   Abort          0      0      4      0
CleaningZeroed   Crash         15      0     74     15
NoSync           Write       1600    280  17000    700
NoSync           Unmap        480     96   4800    190
NoSync           Read        1100    200  11000    460
NoSync           MarkAhead      0      0      0      0
NoSync           Clear          -      -      -      -
NoSync           Resync      1200    160    270     26
NoSync           LegLost      350    540   8100   1000
NoSync           LegBack     3000    470    200     23
NoSync           Abort          8     15   1300     97
NoSync           Crash       1700   1000  23000   2000
Refused          Write          0      0     59     12
Refused          Unmap          0      0     17      0
Refused          Read           0      0     41      6
Refused          MarkAhead      0      0      0      0
Refused          Clear          -      -      -      -
Refused          Resync         0      0      0      0
Refused          LegLost        0      0     26      7
Refused          LegBack        0      0      0      0
Refused          Abort          0      0      0      0
Refused          Crash          0      0     39      7
RefusedUnwritten Write          0      0     40      4
RefusedUnwritten Unmap          0      0     10      0
RefusedUnwritten Read           0      0     23      0
RefusedUnwritten MarkAhead      0      0      0      0
RefusedUnwritten Clear          -      -      -      -
RefusedUnwritten Resync         0      0      0      0
RefusedUnwritten LegLost        0      0     14      0
RefusedUnwritten LegBack        0      0      0      0
RefusedUnwritten Abort          0      0      0      0
RefusedUnwritten Crash          0      0     19      0
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
