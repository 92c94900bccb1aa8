//! Orders of events that once broke a promise and that histories hardly ever hit, each played by hand.

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
