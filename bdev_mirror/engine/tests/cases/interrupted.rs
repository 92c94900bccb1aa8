//! Another thread that comes in between.

use crate::bench::Table;
use mirror_engine::*;
use std::cell::{Cell, RefCell};

/// A table in which something happens at the n-th look at an I/O, as if another thread did it just then.
pub struct Interrupted<'a> {
    pub table: Table,
    /// Looks before it happens; `None` once it has.
    pub looks_left: Cell<Option<u32>>,
    pub event: RefCell<&'a mut dyn FnMut()>,
}

impl Interrupted<'_> {
    /// One look.
    pub fn look(&self) {
        match self.looks_left.take() {
            Some(0) => (self.event.borrow_mut())(),
            left => self.looks_left.set(left.map(|looks| looks - 1)),
        }
    }
}

impl HostIos for Interrupted<'_> {
    type Id = u32;

    fn io(&self, id: u32) -> &HostIo<u32> {
        self.look();
        self.table.io(id)
    }

    fn io_mut(&mut self, id: u32) -> &mut HostIo<u32> {
        self.look();
        self.table.io_mut(id)
    }
}
