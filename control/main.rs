//! The `ovn-xdp` command.
fn main() {}
