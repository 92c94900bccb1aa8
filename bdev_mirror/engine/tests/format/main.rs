//! The on-disk format as its users see it: where things are, what comes back, what is refused.

mod example;
mod fixtures;
mod layout;
mod map_unit;
mod superblock;
