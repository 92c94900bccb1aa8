//! Buffers of copies.

use crate::bench::Setup;
use mirror_engine::*;

fn is_copy(_: &Device, io: &Io) -> bool {
    matches!(io, Io::CopyRead { .. } | Io::CopyWrite { .. })
}

fn is_copy_read(_: &Device, io: &Io) -> bool {
    matches!(io, Io::CopyRead { .. })
}

/// Once showed: the next chunk was read into the buffer that a write of the chunk before still referred to, on a
/// leg that was failed: what landed there was another chunk, and the leg was not on record as out yet.
#[test]
fn a_buffer_is_not_read_into_while_a_leg_that_is_out_writes_from_it() {
    let mut options = Options { leg_timeout_ms: 1000, clear_idle_ms: 100, ..Options::default() };
    // Chunks of half a region.
    options.pacer.resync_chunk_kb = 2;
    let mut bench = Setup { options, ..Setup::default() }.start();
    bench.hold = is_copy;
    bench.suspect();
    bench.end_op(is_copy_read, Ok(()));
    let (_, target, io) = bench.op(is_copy).unwrap();
    let Io::CopyWrite { buffer, .. } = io else { panic!("{io:?}") };
    bench.wait(1500);
    assert!(bench.events.iter().any(|event| matches!(event, Event::LegFailed { .. })), "{target:?} hangs");
    assert_eq!(bench.count_ops(|_, io| matches!(io, Io::CopyWrite { .. })), 1);
    for _ in 0..20 {
        let uses = |_: &Device, io: &Io| matches!(io, Io::CopyRead { buffer: used, .. } if *used == buffer);
        assert_eq!(bench.count_ops(uses), 0, "{:?}", bench.ops);
        if bench.op(is_copy_read).is_some() {
            bench.end_op(is_copy_read, Ok(()));
        }
        bench.wait(100);
    }
    assert!(bench.events.contains(&Event::Reconciled));
}
