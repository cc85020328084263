//! A generation as text, the same for two generations that mean the same.
//!
//! Numbers and epochs are left out, maps are in order, sets are written out where a rule names them. For tests and for
//! `ovn-xdp show`.

use ovn_xdp_datapath::classify::{Literal, Masked, Rule, SetId, Values};
use ovn_xdp_datapath::key::VlanId;
use ovn_xdp_datapath::publish::{Datapath, Generation, Group, Interface, Tunnel};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

/// What is in each set.
type Members = BTreeMap<SetId, BTreeSet<Masked>>;

/// The whole of a generation.
pub fn dump(generation: &Generation) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write_generation(&mut out, generation);
    out
}

fn write_generation(out: &mut String, generation: &Generation) -> fmt::Result {
    for (id, interface) in generation.interfaces.iter() {
        writeln!(out, "interface {} {}", id.0, interface.name)?;
        write_interface(out, interface)?;
    }
    let mut tunnels: Vec<_> = generation.tunnels.iter().collect();
    tunnels.sort_by_key(|(id, _)| **id);
    for (id, tunnel) in tunnels {
        writeln!(out, "tunnel {} {:?}", id.0, Tunnel { epoch: 0, ..(**tunnel).clone() })?;
    }
    let mut peers: Vec<_> = generation.peers.keys().collect();
    peers.sort();
    writeln!(out, "peers {peers:?}")?;
    let mut datapaths: Vec<_> = generation.datapaths.values().collect();
    datapaths.sort_by_key(|datapath| datapath.key);
    let mut members = Members::new();
    for (set, values) in generation.sets.iter() {
        members.entry(set).or_default().insert(values);
    }
    datapaths.into_iter().try_for_each(|datapath| write_datapath(out, datapath, &members))
}

fn write_interface(out: &mut String, interface: &Interface) -> fmt::Result {
    writeln!(out, "  untagged {:?}", interface.vif)?;
    for vid in (0..=4095).filter_map(VlanId::new) {
        if let Some(child) = interface.children.get(vid) {
            writeln!(out, "  tag {vid} {child:?}")?;
        }
    }
    Ok(())
}

fn write_datapath(out: &mut String, datapath: &Datapath, members: &Members) -> fmt::Result {
    writeln!(out, "datapath {} {}", datapath.key, datapath.name)?;
    let mut ports: Vec<_> = datapath.ports.values().collect();
    ports.sort_by_key(|port| port.key);
    for port in ports {
        writeln!(out, "  {port:?}")?;
    }
    let mut groups: Vec<_> = datapath.groups.iter().collect();
    groups.sort_by_key(|(key, _)| **key);
    for (key, group) in groups {
        writeln!(out, "  group {key} {:?}", Group { epoch: 0, ..(**group).clone() })?;
    }
    let mut neighbours: Vec<String> =
        datapath.neighbours.iter().map(|(key, mac)| format!("  {key:?} {mac:02x?}")).collect();
    neighbours.extend(datapath.fdb.iter().map(|(mac, port)| format!("  fdb {mac:02x?} {port}")));
    neighbours.sort_unstable();
    neighbours.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    for (pipeline, tables) in [("ingress", &datapath.ingress), ("egress", &datapath.egress)] {
        for (index, table) in tables.iter().enumerate() {
            for rule in table.rules() {
                write!(out, "  {pipeline} {index} ")?;
                write_rule(out, rule, members)?;
            }
        }
    }
    Ok(())
}

fn write_rule(out: &mut String, rule: &Rule, members: &Members) -> fmt::Result {
    write!(out, "{} {:032x} if ", rule.priority(), rule.flow().0)?;
    for (index, clause) in rule.clauses().enumerate() {
        out.write_str(if index == 0 { "" } else { " or " })?;
        write_clause(out, clause, members)?;
    }
    writeln!(out, " do {:?}", rule.program())
}

fn write_clause(out: &mut String, clause: &[Literal], members: &Members) -> fmt::Result {
    if clause.is_empty() {
        return out.write_str("always");
    }
    for (index, literal) in clause.iter().enumerate() {
        out.write_str(if index == 0 { "" } else { " and " })?;
        let not = if literal.negated() { " not" } else { "" };
        let named;
        let (kind, values) = match literal.values() {
            Values::Shared(set) => {
                named = members.get(&set.id).into_iter().flatten().copied().collect::<Vec<_>>();
                ("set ", &*named)
            }
            _ => {
                named = literal.list().to_vec();
                ("", &*named)
            }
        };
        write!(out, "{:?}{not} in {kind}{{", literal.field())?;
        for value in values {
            write!(out, " {:x}/{:x}", value.value, value.mask)?;
        }
        out.write_str(" }")?;
    }
    Ok(())
}
