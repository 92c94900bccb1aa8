//! The host: writes, reads, gives up, flushes, and checks what comes of it.

use super::engine::{Request, Running, is_good};
use super::{Verdict, World};
use crate::coverage::Deed;
use crate::disk::Block;
use mirror_engine::format::{LogType, MapKind};
use mirror_engine::{Failure, Fault, HostIo, Op, Outcome, RegionState};

impl World {
    pub fn host_acts(&mut self) -> Verdict {
        let running = self.engine();
        let under_way = running.requests.iter().flatten().count();
        let open: Vec<usize> =
            running.channels.iter().enumerate().filter(|(_, channel)| channel.is_some()).map(|(at, _)| at).collect();
        if under_way >= self.setup.host_ios_max || !self.engine().started {
            return self.complete_something();
        }
        let Some(channel) = self.chooser.pick(&open) else { return Ok(()) };
        let op = match self.chooser.below(20) {
            0..9 => Op::Write,
            9..15 => Op::Read,
            15 => Op::WriteZeroes,
            16 | 17 => Op::Unmap,
            _ => Op::Flush,
        };
        let mut range = self.random_range(op);
        let mut zeroing =
            self.engine().requests.iter().flatten().filter(|request| request.op.is_write() && request.value == 0);
        if let Some(other) = zeroing.next().map(|request| request.range.clone())
            && op == Op::Write
            && self.chooser.percent(40)
        {
            // Into what is being zeroed.
            range = other.start..other.start + 1;
        }
        if op == Op::Write
            && let Some(next) = self.stream_goes_on(channel)
        {
            range = next;
        }
        self.submit(channel, op, range)
    }

    fn random_range(&mut self, op: Op) -> std::ops::Range<u64> {
        let geometry = self.setup.geometry();
        if op == Op::Flush {
            return 0..1;
        }
        if matches!(op, Op::Unmap | Op::WriteZeroes) && self.chooser.percent(60) {
            // Whole regions.
            let region = self.chooser.below(geometry.regions());
            return geometry.region_range(region);
        }
        if self.setup.small_units && self.chooser.percent(30) {
            // From one unit of the maps into the next.
            let end = geometry.region_range(geometry.unit_bits() - 1).end;
            return end - 1..end + 1;
        }
        // A few blocks are hot, and the end of the mirror is among them.
        let start = match self.chooser.below(3) {
            0 => u64::from(self.chooser.below(3)),
            1 => geometry.blocks - 1 - u64::from(self.chooser.below(3)),
            _ => u64::from(self.chooser.below(geometry.blocks as u32)),
        };
        let start = start.min(geometry.blocks - 1);
        let most = (geometry.blocks - start).min(geometry.region_blocks + 1);
        start..start + 1 + u64::from(self.chooser.below(most as u32))
    }

    /// What is wrong with the command itself, now and then.
    fn random_deserved(&mut self) -> Option<Fault> {
        if !self.faults || !self.chooser.percent(3) || self.is_masked(28) {
            return None;
        }
        self.chooser.pick(&[Fault::Rejected, Fault::Deserved])
    }

    pub fn submit(&mut self, channel: usize, op: Op, range: std::ops::Range<u64>) -> Verdict {
        self.counts.host_ios += 1;
        let value = if op == Op::Write {
            self.next_value += 1;
            self.next_value
        } else {
            0
        };
        let through = self.setup.write_through && op.is_write();
        let key = self.counts.host_ios;
        self.cover_host(op, &range);
        match op {
            Op::Read => self.model.read_begins(key, range.clone()),
            Op::Flush => self.model.flush_begins(key),
            _ => {
                self.model.write_begins(key, range.clone(), value);
                self.want_write(channel, &range);
            }
        }
        let clocks = self.disks.iter().map(|disk| disk.clock).collect();
        let (now_ms, deserves) = (self.now_ms, self.random_deserved());
        let request = Request {
            channel,
            op,
            range: range.clone(),
            value,
            through,
            key,
            children: 0,
            sent: false,
            good: Default::default(),
            read: Vec::new(),
            deserves,
            clocks,
        };
        let running = self.engine();
        let id = match running.requests.iter().position(Option::is_none) {
            Some(id) => id,
            None => {
                running.requests.push(None);
                running.table.ios.push(None);
                running.requests.len() - 1
            }
        };
        let blocks = (range.end - range.start) as u32;
        running.table.ios[id] = Some(HostIo::new(op, range.start, blocks, now_ms).write_through(through));
        running.requests[id] = Some(request);
        self.say(|| format!("host {op:?} {range:?} value {value} on channel {channel}, I/O {id}"));
        let Running { channels, table, shared, .. } = self.engine();
        let Some(open) = channels[channel].as_mut() else { return Ok(()) };
        let step = open.submit(table, shared, id as u32, now_ms);
        self.follow(channel, id as u32, step)
    }

    pub fn host_io_done(&mut self, channel: usize, io: u32, outcome: Outcome) -> Verdict {
        let running = self.engine();
        let Some(mut request) = running.requests[io as usize].take() else {
            return Err(format!("I/O {io} ended twice"));
        };
        if request.children > 0 {
            return Err(format!("I/O {io} ended with {} children in flight", request.children));
        }
        running.waiting.retain(|waiting| *waiting != (channel, io));
        self.say(|| format!("I/O {io} ends: {outcome:?}"));
        self.check_busy(channel, &request, outcome)?;
        self.check_failure(&request, outcome)?;
        let good = is_good(outcome);
        self.note_deserved(&request, outcome);
        match request.op {
            Op::Read => {
                let values = self.read_values(&request, outcome)?;
                self.check_read_outcome(&request, outcome)?;
                if self.model.read_ends(request.key, values.as_deref())? {
                    self.note_decided(&request, outcome, &values.unwrap_or_default());
                }
            }
            Op::Flush => {
                // On a drive without a cache there is nothing to flush.
                request.good.extend(self.required_drives().into_iter().filter(|&drive| self.disks[drive].cacheless));
                if good {
                    self.check_flush(&request)?;
                }
                self.model.flush_ends(request.key, good);
            }
            _ => {
                if good {
                    self.check_acknowledged(&request)?;
                } else {
                    self.check_write_error(&request)?;
                }
                // Refused by every leg: nothing was changed.
                if good || (request.sent && outcome != Outcome::Failed(Failure::Refused)) {
                    self.model.write_ends(request.key, good, request.through);
                } else {
                    self.model.write_never_was(request.key);
                }
            }
        }
        Ok(())
    }

    /// What a read decided holds on the legs in sync; one that was out at the time may hold something else.
    fn note_decided(&mut self, request: &Request, outcome: Outcome, values: &[u64]) {
        let Outcome::Good { zeroed } = outcome else { return };
        let geometry = self.setup.geometry();
        let first = geometry.region_of(request.range.start);
        // A write that has not ended decides nothing: after a crash its blocks may be as before, whoever read them.
        let writes: Vec<_> = self.running.iter().flat_map(|running| running.requests.iter().flatten()).collect();
        let is_under_write =
            |block: u64| writes.iter().any(|write| write.op.is_write() && write.range.contains(&block));
        let reads_as = |drive: usize, block: u64, value: u64| {
            if is_under_write(block) {
                return true;
            }
            let region = geometry.region_of(block);
            if zeroed >> (region - first) & 1 == 0 {
                return self.disks[drive].view(geometry.data_offset_blocks + block) == Block::Stamp(value);
            }
            // It was never written and no leg was asked. Another start goes by the map of its own legs.
            self.setup.log != LogType::Internal || self.map_bit(drive, MapKind::Written, region, true) == Some(false)
        };
        let required = self.required_drives();
        let is_lacking = |drive: &usize| {
            let mut blocks = request.range.clone().zip(values);
            !required.contains(drive) && !blocks.all(|(block, value)| reads_as(*drive, block, *value))
        };
        let lacking: Vec<usize> = self.truth.current.iter().copied().filter(is_lacking).collect();
        for drive in lacking {
            self.lacks_read(drive, request);
        }
    }

    /// A read decided what a drive that is out does not hold.
    fn lacks_read(&mut self, drive: usize, request: &Request) {
        self.truth.current.remove(&drive);
        let geometry = self.setup.geometry();
        let Some(running) = &self.running else { return };
        let mut regions = geometry.region_of(request.range.start)..=geometry.region_of(request.range.end - 1);
        let unread = regions.all(|region| running.shared.regions.load(region).state() == RegionState::Unread);
        if let (true, Some(&source)) = (unread, request.good.first()) {
            self.truth.lacks_read.insert(drive, source);
        }
    }

    fn note_deserved(&mut self, request: &Request, outcome: Outcome) {
        if request.deserves.is_none() || is_good(outcome) {
            return;
        }
        self.coverage.note(match (request.op.is_write(), outcome) {
            (true, Outcome::Failed(Failure::Refused)) => Deed::WriteRefused,
            (true, _) => Deed::WriteDeserved,
            _ => Deed::OtherDeserved,
        });
    }

    /// An error has the reason that it names: an engine that refuses what it could do loses no data, but serves nobody.
    fn check_failure(&self, request: &Request, outcome: Outcome) -> Verdict {
        let (Outcome::Failed(failure), Some(running)) = (outcome, &self.running) else { return Ok(()) };
        let set = running.shared.legs.load();
        let geometry = self.setup.geometry();
        let (first, last) =
            (geometry.region_of(request.range.start), geometry.region_of(request.range.end.saturating_sub(1)));
        let mut states = (first..=last).map(|region| running.shared.regions.load(region).state());
        let is_true = match failure {
            // A region that could not be reconciled is read from the chosen leg alone, and that one may be out.
            Failure::Offline => {
                set.is_offline() || (request.op == Op::Read && states.any(|state| state == RegionState::Unread))
            }
            Failure::NoRecord => {
                set.is_stuck()
                    || states.any(|state| matches!(state, RegionState::Refused | RegionState::RefusedUnwritten))
            }
            // `check_busy` looks at that one.
            Failure::Busy | Failure::Legs | Failure::Refused | Failure::Aborted => true,
        };
        if is_true {
            return Ok(());
        }
        Err(format!("{:?} of {:?} ended with {failure:?}, and it is not so", request.op, request.range))
    }

    /// What the host finds in its buffer.
    fn read_values(&mut self, request: &Request, outcome: Outcome) -> Verdict<Option<Vec<u64>>> {
        let Outcome::Good { zeroed } = outcome else { return Ok(None) };
        let geometry = self.setup.geometry();
        let first = geometry.region_of(request.range.start);
        let mut values = Vec::new();
        for (index, block) in request.range.clone().enumerate() {
            let region = geometry.region_of(block) - first;
            if zeroed >> region & 1 != 0 {
                values.push(0);
                continue;
            }
            match request.read.get(index) {
                Some(Block::Stamp(stamp)) => values.push(*stamp),
                other => return Err(format!("a read of block {block} ended well and brought {other:?}")),
            }
        }
        Ok(Some(values))
    }
}
