//! A leg on one SPDK thread.

use crate::leg::Leg;
use spdk_sys::*;
use std::cell::Cell;
use std::ptr;

/// A leg as one channel sees it.
pub struct ChannelLeg {
    desc: *mut spdk_bdev_desc,
    io_channel: Cell<*mut spdk_io_channel>,
    outstanding: Cell<u32>,
}

impl ChannelLeg {
    /// A slot without a leg.
    pub fn none() -> Self {
        Self { desc: ptr::null_mut(), io_channel: ptr::null_mut::<spdk_io_channel>().into(), outstanding: 0.into() }
    }

    /// The leg on the calling thread; `None` if SPDK has no channel for it.
    pub fn open(leg: &Leg) -> Option<Self> {
        // SAFETY: a mirror's legs stay open as long as its io_device is registered, and channels are made only then.
        let io_channel = unsafe { spdk_bdev_get_io_channel(leg.desc()) };
        (!io_channel.is_null()).then_some(Self {
            desc: leg.desc(),
            io_channel: io_channel.into(),
            outstanding: 0.into(),
        })
    }

    /// Gives the channel back; does nothing the second time.
    pub fn close(&self) {
        let io_channel = self.io_channel.replace(ptr::null_mut());
        if !io_channel.is_null() {
            // SAFETY: got by open() on this thread, put once.
            unsafe { spdk_put_io_channel(io_channel) };
        }
    }

    #[inline]
    pub fn desc(&self) -> *mut spdk_bdev_desc {
        self.desc
    }

    #[inline]
    pub fn io_channel(&self) -> *mut spdk_io_channel {
        self.io_channel.get()
    }

    /// Children in flight on this channel.
    #[inline]
    pub fn outstanding(&self) -> u32 {
        self.outstanding.get()
    }

    #[inline]
    pub fn child_sent(&self) {
        self.outstanding.set(self.outstanding.get() + 1);
    }

    #[inline]
    pub fn child_ended(&self) {
        self.outstanding.set(self.outstanding.get() - 1);
    }
}
