//! Records the Southbound database of the demo from a real `ovn-northd`; see
//! `scripts/record-demo-db`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use ovn_xdp_demo::topology;
use ovn_xdp_kit::central::{Central, Southbound};

fn main() -> Result<()> {
    let path: PathBuf = std::env::args_os().nth(1).context("which file shall I write?")?.into();
    let central = Central::new(Southbound::Standalone)?;
    topology::build(&central)?;
    topology::bind(&central)?;
    central.record(&path)
}
