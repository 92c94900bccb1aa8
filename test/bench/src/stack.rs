//! What is measured: a bdev named [`TOP`], bare or with something on top of its legs.

use std::fmt;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use mirror_e2e::app::App;
use mirror_e2e::bdevs;
use serde::Serialize;
use serde_json::json;

/// The name of the bdev that takes the load, whatever is below it.
pub const TOP: &str = "Top";

const BLOCK: u64 = 4096;
const LEG_MB: u64 = 64;

/// What stands between the load and its legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// Nothing: the leg itself.
    Bare,
    /// SPDK's example of a module that passes everything on.
    Passthru,
    /// This project.
    Mirror,
    /// SPDK's own RAID-1.
    Raid1,
}

/// What the legs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Medium {
    /// Stores nothing, so all the cost is the path's.
    Null,
    /// Memory: the cost of a copy is in it.
    Malloc,
}

/// A subject on so many legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stack {
    /// What is on top.
    pub subject: Subject,
    /// How many legs.
    pub legs: u32,
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.subject {
            Subject::Bare => return f.write_str("bare"),
            Subject::Passthru => return f.write_str("passthru"),
            Subject::Mirror => "mirror",
            Subject::Raid1 => "raid1",
        };
        write!(f, "{name} of {}", self.legs)
    }
}

impl Stack {
    /// The leg alone: what everything else is compared with.
    pub const BARE: Stack = Stack { subject: Subject::Bare, legs: 1 };
    /// The least that any module costs.
    pub const PASSTHRU: Stack = Stack { subject: Subject::Passthru, legs: 1 };

    /// A mirror.
    pub const fn mirror(legs: u32) -> Stack {
        Stack { subject: Subject::Mirror, legs }
    }

    fn leg_names(self) -> Vec<String> {
        match self.subject {
            Subject::Bare => vec![TOP.to_string()],
            _ => (0..self.legs).map(|i| format!("Leg{i}")).collect(),
        }
    }

    /// Makes the legs and what is on top.
    pub fn build(self, app: &mut App, medium: Medium) -> Result<()> {
        let names = self.leg_names();
        for name in &names {
            match medium {
                Medium::Null => bdevs::null(app, name, LEG_MB, BLOCK)?,
                Medium::Malloc => bdevs::malloc(app, name, LEG_MB, BLOCK)?,
            }
        }
        let legs: Vec<&str> = names.iter().map(String::as_str).collect();
        match self.subject {
            Subject::Bare => {}
            Subject::Passthru => {
                app.call("bdev_passthru_create", json!({"name": TOP, "base_bdev_name": legs[0]}))?;
            }
            Subject::Mirror => {
                bdevs::mirror(app, TOP, &legs)?;
            }
            Subject::Raid1 => {
                app.call("bdev_raid_create", json!({"name": TOP, "raid_level": "raid1", "base_bdevs": legs}))?;
            }
        }
        ensure!(bdevs::names(app)?.iter().any(|n| n == TOP), "{self}: no bdev {TOP} came of it");
        Ok(())
    }

    /// Takes it all away again.
    pub fn remove(self, app: &mut App, medium: Medium) -> Result<()> {
        match self.subject {
            Subject::Bare => {}
            Subject::Passthru => drop(app.call("bdev_passthru_delete", json!({"name": TOP}))?),
            Subject::Mirror => drop(app.call("bdev_mirror_delete", json!({"name": TOP}))?),
            Subject::Raid1 => drop(app.call("bdev_raid_delete", json!({"name": TOP}))?),
        }
        let delete = match medium {
            Medium::Null => "bdev_null_delete",
            Medium::Malloc => "bdev_malloc_delete",
        };
        for name in self.leg_names() {
            app.call(delete, json!({"name": name}))?;
        }
        Ok(())
    }
}
