//! Orders of events that histories hardly ever hit, played by hand. Most of them once showed a mistake.

mod assembly;
mod bench;
mod buffer;
mod clearing;
mod copies;
mod fill;
mod hang;
mod health;
mod interrupted;
mod lease;
mod life;
mod reading;
mod repair;
mod reset;
mod resync;
mod sharing;
mod stop;
mod stream;
mod suspicion;
mod zeroing;
