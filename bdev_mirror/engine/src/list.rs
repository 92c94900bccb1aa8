//! A list of I/O that is linked through the I/O itself.

use crate::HostIo;

/// Where the I/Os of a channel are kept: the driver's context of a bdev_io, or a table of the simulator.
///
/// The engine names an I/O by an `Id`, a pointer or an index, and never keeps a reference to it.
pub trait HostIos {
    /// Names an I/O.
    type Id: Copy + Eq + std::fmt::Debug;

    /// The I/O of this name.
    fn io(&self, id: Self::Id) -> &HostIo<Self::Id>;

    /// The I/O of this name, to change it.
    fn io_mut(&mut self, id: Self::Id) -> &mut HostIo<Self::Id>;
}

/// A doubly linked list in the order of insertion. An I/O is on one list at a time; taking it out costs the same wherever
/// it stands.
#[derive(Clone, Copy, Debug, Hash)]
pub struct IoList<Id> {
    head: Option<Id>,
    tail: Option<Id>,
}

impl<Id> Default for IoList<Id> {
    fn default() -> Self {
        Self { head: None, tail: None }
    }
}

impl<Id: Copy + Eq + std::fmt::Debug> IoList<Id> {
    /// Whether nothing is on it.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// The oldest.
    #[must_use]
    #[inline]
    pub fn first(&self) -> Option<Id> {
        self.head
    }

    /// Adds an I/O that is on no list, as the youngest.
    #[inline]
    pub fn push(&mut self, ios: &mut impl HostIos<Id = Id>, id: Id) {
        let io = ios.io_mut(id);
        io.next = None;
        io.previous = self.tail;
        match self.tail {
            Some(tail) => ios.io_mut(tail).next = Some(id),
            None => self.head = Some(id),
        }
        self.tail = Some(id);
    }

    /// Takes out an I/O that is on this list.
    #[inline]
    pub fn remove(&mut self, ios: &mut impl HostIos<Id = Id>, id: Id) {
        let io = ios.io_mut(id);
        let (previous, next) = (io.previous.take(), io.next.take());
        match previous {
            Some(previous) => ios.io_mut(previous).next = next,
            None => self.head = next,
        }
        match next {
            Some(next) => ios.io_mut(next).previous = previous,
            None => self.tail = previous,
        }
    }

    /// The one after this, which must be on the list.
    #[must_use]
    #[inline]
    pub fn after(ios: &impl HostIos<Id = Id>, id: Id) -> Option<Id> {
        ios.io(id).next
    }

    /// Whether the predicate holds for any, oldest first.
    pub fn any<T: HostIos<Id = Id>>(&self, ios: &T, mut predicate: impl FnMut(Id, &HostIo<Id>) -> bool) -> bool {
        let mut at = self.head;
        while let Some(id) = at {
            let io = ios.io(id);
            if predicate(id, io) {
                return true;
            }
            at = io.next;
        }
        false
    }

    /// The oldest for which the predicate holds.
    #[inline]
    pub fn find<T: HostIos<Id = Id>>(&self, ios: &T, mut predicate: impl FnMut(&HostIo<Id>) -> bool) -> Option<Id> {
        let mut found = None;
        self.any(ios, |id, io| {
            let hit = predicate(io);
            found = hit.then_some(id);
            hit
        });
        found
    }

    /// Visits all, oldest first.
    pub fn each<T: HostIos<Id = Id>>(&self, ios: &T, mut visit: impl FnMut(Id, &HostIo<Id>)) {
        self.any(ios, |id, io| {
            visit(id, io);
            false
        });
    }
}
