//! Blocks that a leg cannot read.

use crate::bench::Setup;
use mirror_engine::*;

/// Once showed: a block that could not be read on the very leg that suspect regions were copied from was never repaired,
/// its region never became clean, and a stop waited for ever.
#[test]
fn a_bad_block_of_the_chosen_source_is_repaired() {
    let mut bench = Setup::default().start();
    bench.hold = |_, io| matches!(io, Io::CopyRead { .. });
    bench.suspect();
    // The copy of region 0 is under way.
    let (_, source, _) = bench.op(|_, io| matches!(io, Io::CopyRead { .. })).unwrap();
    let Device::Leg(source) = source else { panic!("the log is no source") };
    // Reads of region 2 take turns; those on the source fail.
    for _ in 0..4 {
        let read = bench.send(0, Op::Read, 16, 1);
        while let Some(&index) = bench.slots_of(read).first() {
            bench.end_child(read, index, if index == source.index() { Err(Fault::Failed) } else { Ok(()) });
        }
        assert_eq!(bench.outcome(read), Some(Outcome::GOOD));
    }
    bench.hold = |_, _| false;
    bench.run();
    bench.wait(5000);
    assert!(bench.events.contains(&Event::Repaired { slot: source, block: 16, blocks: 1 }), "{:?}", bench.events);
    assert!((0..4).all(|region| bench.state(region) == RegionState::Clean));
    bench.owner.stop();
    bench.wait(5000);
    assert_eq!(bench.stopped, Some(true));
    assert!(!bench.events.iter().any(|event| matches!(event, Event::LegFailed { .. })));
}
