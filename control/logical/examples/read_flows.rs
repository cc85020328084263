//! Reads logical flows, one to a line as `pipeline<TAB>table<TAB>match<TAB>actions`, and says which
//! do not read and what the others cost.
//!
//! `cargo run --release -p ovn-xdp-logical --example read_flows FLOWS [DHCPV4 DHCPV6]`, where the
//! last two hold rows of DHCP_Options and DHCPv6_Options as `name<TAB>code<TAB>type`.

use ovn_xdp_datapath::classify::{Domain, Masked, SetId, SharedSet};
use ovn_xdp_datapath::program::Pipeline;
use ovn_xdp_logical::action::{OptionTable, Parameters, Position, parse_actions};
use ovn_xdp_logical::parse::parse;
use ovn_xdp_logical::resolve::{Resolve, SetError};
use ovn_xdp_logical::symbol::Symbols;
use std::time::{Duration, Instant};

/// Every name means the same.
struct Anything(SharedSet);

impl Resolve for Anything {
    fn port(&mut self, _: &str) -> Option<u32> {
        Some(1)
    }

    fn address_set(&mut self, _: &str, _: u32) -> Result<SharedSet, SetError> {
        Ok(self.0)
    }

    fn address_list(&mut self, _: &str, _: u32) -> Result<Vec<Masked>, SetError> {
        Ok(vec![Masked { value: 1, mask: u128::MAX >> 96 }])
    }

    fn has_no_members(&mut self, _: &str) -> bool {
        false
    }

    fn port_group(&mut self, _: &str) -> Option<SharedSet> {
        Some(self.0)
    }

    fn is_chassis_resident(&mut self, _: &str) -> bool {
        true
    }
}

fn options(path: Option<String>) -> OptionTable {
    let text = path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    OptionTable::new(text.lines().filter_map(|line| {
        let mut columns = line.split('\t');
        Some((columns.next()?, columns.next()?.parse().ok()?, columns.next()?))
    }))
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().expect("a file of flows");
    let flows = std::fs::read_to_string(path).expect("the file can be read");
    let dhcp_options = options(arguments.next());
    let dhcpv6_options = options(arguments.next());
    let mut names = Anything(SharedSet { id: SetId(1), domain: Domain::Width(32) });
    let (mut count, mut failed, mut clauses) = (0u32, 0u32, 0);
    let (mut matching, mut acting) = (Duration::ZERO, Duration::ZERO);
    for round in 0..50 {
        for line in flows.lines() {
            let mut columns = line.splitn(4, '\t');
            let mut column = || columns.next().unwrap_or_default();
            let pipeline = match column() {
                "ingress" => Pipeline::Ingress,
                _ => Pipeline::Egress,
            };
            let position = Position::new(pipeline, column().parse().unwrap_or(0));
            let (text, actions) = (column(), column());
            let parameters = Parameters {
                symbols: Symbols::flow(),
                position,
                dhcp_options: &dhcp_options,
                dhcpv6_options: &dhcpv6_options,
            };
            let start = Instant::now();
            let acts = parse_actions(actions, &parameters);
            acting += start.elapsed();
            let start = Instant::now();
            let found = parse(text, Symbols::flow()).map(|expr| {
                let expr = match acts.as_ref().ok().and_then(|a| a.prerequisites.clone()) {
                    Some(more) => expr.and(more),
                    None => expr,
                };
                expr.annotate().clauses(&mut names).map(|found| found.len())
            });
            matching += start.elapsed();
            count += 1;
            if round > 0 {
                continue;
            }
            match (&found, &acts) {
                (Ok(Ok(found)), Ok(acts)) => {
                    clauses += found;
                    let printed = acts.to_string();
                    if parse_actions(&printed, &parameters).as_ref() != Ok(acts) {
                        println!("{line}\n  prints as {printed}");
                    }
                }
                _ => {
                    failed += 1;
                    println!("{line}\n  {found:?}\n  {:?}", acts.as_ref().err());
                }
            }
        }
    }
    println!(
        "{count} flows read, {failed} failed; {clauses} clauses; match {:?}, actions {:?} each",
        matching / count.max(1),
        acting / count.max(1)
    );
}
