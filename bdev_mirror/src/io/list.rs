//! An intrusive list: the links live in the members, so that joining and leaving costs no memory and no search.

use std::cell::Cell;
use std::ptr;

/// A member's links; without meaning while it is in no list.
#[repr(C)]
pub struct Link {
    previous: Cell<*const Link>,
    next: Cell<*const Link>,
}

/// The head of a circular list. It must not move once [`List::init`] was called.
#[repr(transparent)]
pub struct List(Link);

impl List {
    /// A head that still has to be initialised in its final place.
    pub const fn new() -> Self {
        Self(Link { previous: Cell::new(ptr::null()), next: Cell::new(ptr::null()) })
    }

    /// Makes the list empty.
    pub fn init(&self) {
        self.0.previous.set(&self.0);
        self.0.next.set(&self.0);
    }

    /// Whether it has no member.
    pub fn is_empty(&self) -> bool {
        ptr::eq(self.0.next.get(), &self.0)
    }

    /// Whether `look` returns true for some member; it is not asked about those behind. It takes nobody out of the list.
    pub fn any(&self, mut look: impl FnMut(&Link) -> bool) -> bool {
        let mut here = self.0.next.get();
        while !ptr::eq(here, &self.0) {
            // SAFETY: a member, which the caller of its push() keeps alive; the caller of remove() sees to it that `look`
            // takes nobody out.
            let member = unsafe { &*here };
            if look(member) {
                return true;
            }
            here = member.next.get();
        }
        false
    }

    /// Calls `look` with each member. It takes nobody out of the list.
    pub fn each(&self, mut look: impl FnMut(&Link)) {
        self.any(|member| {
            look(member);
            false
        });
    }

    /// Adds a member.
    ///
    /// # Safety
    /// The member is in no list, stays where it is and alive until it was removed, and belongs to the list's thread.
    #[inline]
    pub unsafe fn push(&self, member: &Link) {
        let first = self.0.next.get();
        member.previous.set(&self.0);
        member.next.set(first);
        // SAFETY: `first` is the head itself or a member, which the caller of its push() keeps alive.
        unsafe { (*first).previous.set(member) };
        self.0.next.set(member);
    }

    /// Takes a member out.
    ///
    /// # Safety
    /// The member is in a list of this thread, and nobody is going through that list with [`List::any`].
    #[inline]
    pub unsafe fn remove(member: &Link) {
        // SAFETY: a member's neighbours are the head or members, alive as push() demands.
        unsafe {
            (*member.previous.get()).next.set(member.next.get());
            (*member.next.get()).previous.set(member.previous.get());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link {
        Link { previous: Cell::new(ptr::null()), next: Cell::new(ptr::null()) }
    }

    #[test]
    fn members_leave_in_any_order() {
        let (head, a, b, c) = (List::new(), link(), link(), link());
        head.init();
        assert!(head.is_empty());
        // SAFETY: the links outlive the list's use, and each is removed once.
        unsafe {
            head.push(&a);
            head.push(&b);
            head.push(&c);
            let mut seen = Vec::new();
            assert!(!head.any(|link| {
                seen.push(ptr::from_ref(link));
                false
            }));
            assert_eq!(seen, [ptr::from_ref(&c), &b, &a]);
            assert!(head.any(|link| ptr::eq(link, &b)));
            List::remove(&b);
            assert!(!head.is_empty());
            List::remove(&a);
            List::remove(&c);
        }
        assert!(head.is_empty());
    }
}
