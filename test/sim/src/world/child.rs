//! Host I/O goes to the legs.

use super::engine::Running;
use super::{Flight, Origin, Verdict, Work, World};
use crate::disk::{Block, ZERO};
use mirror_engine::{ChannelStep, Fault, HostIos, Op, Slot};

impl World {
    /// Follows a step of an I/O, and whatever became ready besides.
    pub fn follow(&mut self, channel: usize, io: u32, step: ChannelStep) -> Verdict {
        let mut next = Some((io, step));
        while let Some((io, step)) = next {
            match step {
                ChannelStep::Wait => {}
                ChannelStep::Send => self.send_children(channel, io)?,
                ChannelStep::Done(outcome) => self.host_io_done(channel, io, outcome)?,
            }
            next = self.next_ready(channel);
        }
        Ok(())
    }

    pub fn next_ready(&mut self, channel: usize) -> Option<(u32, ChannelStep)> {
        let now_ms = self.now_ms;
        let Running { channels, table, shared, .. } = self.engine();
        channels[channel].as_mut()?.next_ready(table, shared, now_ms)
    }

    pub fn follow_ready(&mut self, channel: usize) -> Verdict {
        while let Some((io, step)) = self.next_ready(channel) {
            self.follow(channel, io, step)?;
        }
        Ok(())
    }

    /// Sends what is to be sent, as far as memory goes.
    pub fn send_children(&mut self, channel: usize, io: u32) -> Verdict {
        loop {
            let now_ms = self.now_ms;
            let Running { channels, table, shared, requests, .. } = self.engine();
            let Some(open) = channels[channel].as_mut() else { return Ok(()) };
            if requests[io as usize].is_none() {
                return Ok(());
            }
            let Some(slot) = open.next_child(table, shared, io, now_ms) else { return Ok(()) };
            if self.faults && self.chooser.percent(4) {
                self.say(|| format!("no memory for a child of {io} on slot {}", slot.index()));
                let Running { channels, table, shared, waiting, .. } = self.engine();
                if let Some(open) = channels[channel].as_mut() {
                    open.not_sent(table, shared, io, slot);
                }
                waiting.push((channel, io));
                return Ok(());
            }
            let drive = self.drive_of(slot.index());
            let refused =
                !self.disks[drive].present || (self.faults && self.setup_allows_errors() && self.chooser.percent(1));
            if refused {
                self.say(|| format!("a child of {io} is refused by slot {}", slot.index()));
                self.engine().faulted.insert(slot.index());
                let range = self.engine().requests[io as usize].as_ref().map(|request| request.range.clone());
                self.want_repair_of(range);
                let Running { channels, table, shared, .. } = self.engine();
                let Some(open) = channels[channel].as_mut() else { return Ok(()) };
                let step = open.child_refused(table, shared, io, slot, Fault::Failed);
                if step != ChannelStep::Send {
                    return self.follow(channel, io, step);
                }
                continue;
            }
            if self.deserved(io) == Some(Fault::Rejected) && self.chooser.percent(30) {
                self.say(|| format!("slot {} refuses the child of {io} for what it asks", slot.index()));
                let Running { channels, table, shared, .. } = self.engine();
                let Some(open) = channels[channel].as_mut() else { return Ok(()) };
                let step = open.child_refused(table, shared, io, slot, Fault::Rejected);
                if step != ChannelStep::Send {
                    return self.follow(channel, io, step);
                }
                continue;
            }
            self.send_child(channel, io, slot)?;
        }
    }

    /// The error that an I/O deserves.
    pub fn deserved(&self, io: u32) -> Option<Fault> {
        self.running.as_ref()?.requests[io as usize].as_ref()?.deserves
    }

    pub fn send_child(&mut self, channel: usize, io: u32, slot: Slot) -> Verdict {
        if self.engine().suspended {
            return Err(format!("a child of I/O {io} is sent while all I/O is said to wait"));
        }
        let drive = self.drive_of(slot.index());
        let offset = self.setup.geometry().data_offset_blocks;
        let running = self.engine();
        let op = running.table.io(io).child_op();
        let life = running.lives[slot.index()];
        let Some(request) = running.requests[io as usize].as_mut() else {
            return Err(format!("a child of I/O {io}, which has ended"));
        };
        request.children += 1;
        request.sent = true;
        let request = request.clone();
        let (block, blocks) = (offset + request.range.start, request.range.end - request.range.start);
        let work = match op {
            Op::Read => {
                self.check_host_read(slot.index(), request.range.clone())?;
                Work::Read { block, blocks, buffer: None }
            }
            Op::Flush if self.disks[drive].cacheless => {
                return Err(format!("a flush goes to slot {}, which knows none", slot.index()));
            }
            Op::Flush => Work::Flush { clock: self.disks[drive].clock },
            Op::Write | Op::WriteZeroes | Op::Unmap => {
                self.check_host_write(slot.index(), request.range.clone())?;
                let data = if op == Op::Write { Block::Stamp(request.value) } else { ZERO };
                Work::Write { block, data: vec![data; blocks as usize] }
            }
        };
        self.say(|| format!("child of {io} on slot {}: {op:?} {:?}", slot.index(), request.range));
        let origin = Origin::Child { channel, io, slot: slot.index() };
        self.launch(Flight {
            drive,
            work,
            origin,
            life,
            slot: Some(slot.index()),
            since_ms: 0,
            hung: false,
            aborted: false,
        });
        Ok(())
    }
}
