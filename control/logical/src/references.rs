//! What a match depends on, listed without resolving anything.

use crate::expr::{Expr, Operand};
use std::collections::BTreeSet;

/// Names that an expression mentions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct References<'a> {
    /// Logical ports and multicast groups compared with.
    pub ports: BTreeSet<&'a str>,
    /// Address sets.
    pub address_sets: BTreeSet<&'a str>,
    /// Port groups.
    pub port_groups: BTreeSet<&'a str>,
    /// Ports asked for by `is_chassis_resident`.
    pub residents: BTreeSet<&'a str>,
}

impl Expr {
    /// The names that the expression mentions.
    pub fn references(&self) -> References<'_> {
        let mut found = References::default();
        self.leaves(&mut |leaf| match leaf {
            Expr::Resident { port, .. } => {
                found.residents.insert(port);
            }
            Expr::Compare(comparison) => match &comparison.operand {
                Operand::Numbers(_) => {}
                Operand::AddressSet { name, .. } => {
                    found.address_sets.insert(name);
                }
                Operand::Ports(names) => found.ports.extend(names.iter().map(|name| &**name)),
                Operand::PortGroup(name) => {
                    found.port_groups.insert(name);
                }
            },
            _ => {}
        });
        found
    }
}
