//! Orders of events that once broke a promise and that histories hardly ever hit, each played by hand.

mod assembly;
mod bench;
mod clearing;
mod copies;
mod fill;
mod hang;
mod health;
mod lease;
mod life;
mod repair;
mod reset;
mod resync;
mod stop;
mod suspicion;
mod zeroing;
