//! Changes of Port_Binding, as operations of RFC 7047.
//!
//! A release or a change of `up` names our chassis in its condition, so that it cannot undo the
//! claim of a chassis that was faster.

use crate::southbound::column::{empty, is, reference, set_of};
use serde_json::{Value, json};
use uuid::Uuid;

/// One change of one row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// Become the main chassis.
    Claim {
        /// Row.
        row: Uuid,
        /// Our Encap for this port, if its interface names one (PBO-10).
        encap: Option<Uuid>,
        /// Clear an `up` that the former chassis wrote.
        lower: bool,
    },
    /// Stop being the main chassis.
    Release {
        /// Row.
        row: Uuid,
        /// Clear `up`.
        lower: bool,
    },
    /// Become an additional chassis.
    JoinAdditional {
        /// Row.
        row: Uuid,
        /// Our Encap for this port.
        encap: Option<Uuid>,
    },
    /// Stop being an additional chassis.
    LeaveAdditional {
        /// Row.
        row: Uuid,
    },
    /// Write `up`.
    Up {
        /// Row.
        row: Uuid,
        /// Whether the workers forward for it.
        up: bool,
    },
}

impl Write {
    /// The row that is written.
    pub fn row(&self) -> Uuid {
        match self {
            Self::Claim { row, .. }
            | Self::Release { row, .. }
            | Self::JoinAdditional { row, .. }
            | Self::LeaveAdditional { row }
            | Self::Up { row, .. } => *row,
        }
    }

    /// Operations for a transaction; `me` is our row of Chassis, `encaps` are ours.
    pub fn operations(&self, me: Uuid, encaps: &[Uuid]) -> Vec<Value> {
        let ours = json!(["chassis", "==", reference(me)]);
        match self {
            Self::Claim { row, encap, lower } => {
                let mut columns = json!({
                    "chassis": reference(me),
                    "encap": encap.map_or_else(empty, reference),
                });
                if *lower {
                    columns["up"] = json!(false);
                }
                vec![update(json!([is(*row)]), columns)]
            }
            Self::Release { row, lower } => {
                let mut columns = json!({ "chassis": empty(), "encap": empty() });
                if *lower {
                    columns["up"] = json!(false);
                }
                vec![update(json!([is(*row), ours]), columns)]
            }
            Self::JoinAdditional { row, encap } => {
                let mut mutations =
                    vec![json!(["additional_chassis", "insert", set_of([reference(me)])])];
                if let Some(encap) = encap {
                    mutations.push(json!([
                        "additional_encap",
                        "insert",
                        set_of([reference(*encap)])
                    ]));
                }
                vec![mutate(*row, mutations)]
            }
            Self::LeaveAdditional { row } => {
                let mut mutations =
                    vec![json!(["additional_chassis", "delete", set_of([reference(me)])])];
                if !encaps.is_empty() {
                    let encaps = set_of(encaps.iter().copied().map(reference));
                    mutations.push(json!(["additional_encap", "delete", encaps]));
                }
                vec![mutate(*row, mutations)]
            }
            Self::Up { row, up } => {
                vec![update(json!([is(*row), ours]), json!({ "up": up }))]
            }
        }
    }
}

fn update(condition: Value, columns: Value) -> Value {
    json!({ "op": "update", "table": "Port_Binding", "where": condition, "row": columns })
}

fn mutate(row: Uuid, mutations: Vec<Value>) -> Value {
    json!({ "op": "mutate", "table": "Port_Binding", "where": [is(row)], "mutations": mutations })
}
