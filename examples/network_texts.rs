//! Writes the texts of all networks of the tests, as `ovn-northd` makes them, to a directory:
//! `expressions` and `actions`, a text a line, and `sets`, a line each: `network_texts DIRECTORY`.
//! `scripts/record-ovstest` asks OVN what it makes of them.

use anyhow::{Context, Result};
use ovn_xdp_kit::central::{Central, Southbound};
use ovn_xdp_kit::dice::Dice;
use ovn_xdp_kit::network::{FEATURES, Network};
use ovn_xdp_kit::texts::Texts;
use std::path::Path;

fn main() -> Result<()> {
    let directory = std::env::args().nth(1).context("usage: network_texts DIRECTORY")?;
    let directory = Path::new(&directory);
    let central = Central::new(Southbound::Standalone)?;
    let mut texts = Texts::default();
    for number in 0..FEATURES.len() {
        Network::random(&mut Dice::new(1000 + number as u64), number).build(&central)?;
        texts.read(&central)?;
    }
    let lines =
        |texts: &mut dyn Iterator<Item = String>| texts.map(|text| text + "\n").collect::<String>();
    std::fs::write(directory.join("expressions"), lines(&mut texts.matches.into_iter()))?;
    std::fs::write(directory.join("actions"), lines(&mut texts.actions.into_iter()))?;
    let set = |(name, members): (String, std::collections::BTreeSet<String>)| {
        [name].into_iter().chain(members).collect::<Vec<_>>().join(" ")
    };
    std::fs::write(directory.join("sets"), lines(&mut texts.sets.into_iter().map(set)))?;
    Ok(())
}
