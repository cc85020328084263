//! Logical flows and the groups of datapaths that share them.

use super::{BadRow, Reader, Record};
use ovn_xdp_datapath::program::Pipeline;
use ovn_xdp_ovsdb::Row;
use ovn_xdp_ovsdb::packed::Cell;
use ovn_xdp_ovsdb::rows::Identified;
use ovn_xdp_ovsdb::value::{Atom, Datum};
use uuid::Uuid;

/// Tables of one pipeline, more than any version has: `next` of OVN 26.03 goes up to 34 (ACT-P4).
pub const TABLES: u8 = 64;

/// A logical flow (SB-07): the row itself, which holds what it must.
///
/// There are a million of them, so nothing is kept beside the row: its columns are read when asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogicalFlow(Row);

impl LogicalFlow {
    /// `_uuid`.
    pub fn uuid(&self) -> Uuid {
        self.0.id()
    }

    /// The datapath, unless only the group says (EX-S11).
    pub fn datapath(&self) -> Option<Uuid> {
        self.0.optional_uuid("logical_datapath").ok().flatten()
    }

    /// Row of Logical_DP_Group.
    pub fn group(&self) -> Option<Uuid> {
        self.0.optional_uuid("logical_dp_group").ok().flatten()
    }

    /// Which pipeline.
    pub fn pipeline(&self) -> Pipeline {
        match self.text("pipeline") {
            EGRESS => Pipeline::Egress,
            _ => Pipeline::Ingress,
        }
    }

    /// Which table of it.
    pub fn table(&self) -> u8 {
        self.number("table_id") as u8
    }

    /// 0..65535; the highest that matches wins.
    pub fn priority(&self) -> u16 {
        self.number("priority") as u16
    }

    /// The match, as text.
    pub fn matches(&self) -> &str {
        self.text("match")
    }

    /// The actions, as text.
    pub fn actions(&self) -> &str {
        self.text("actions")
    }

    /// Whether fields of connections mean those of the original direction (EX-S8).
    pub fn is_translated(&self) -> bool {
        let tags = self.0.map("tags").ok();
        tags.and_then(|tags| tags.get("acl_ct_translation")).is_some_and(|value| **value == *"true")
    }

    /// Meter of what it sends up (EX-S12).
    pub fn meter(&self) -> Option<&str> {
        self.0.optional_string("controller_meter").ok().flatten()
    }

    /// `external_ids:stage-name`, for people; empty if there is none.
    pub fn stage(&self) -> &str {
        let ids = self.0.map("external_ids").ok();
        ids.and_then(|ids| ids.get("stage-name")).map_or("", |name| name)
    }

    /// `external_ids:source`: the line of northd that wrote it.
    pub fn source(&self) -> Option<&str> {
        Some(self.0.map("external_ids").ok()?.get("source")?)
    }

    fn text(&self, column: &str) -> &str {
        self.0.string(column).unwrap_or_default()
    }

    fn number(&self, column: &str) -> i64 {
        self.0.integer(column).unwrap_or_default()
    }
}

impl Identified for LogicalFlow {
    fn id(&self) -> Uuid {
        self.uuid()
    }
}

const EGRESS: &str = "egress";

impl Record for LogicalFlow {
    const TABLE: &'static str = "Logical_Flow";
    const COLUMNS: &'static [&'static str] = &[
        "logical_datapath",
        "logical_dp_group",
        "pipeline",
        "table_id",
        "priority",
        "match",
        "actions",
        "tags",
        "controller_meter",
        "external_ids:stage-name",
        "external_ids:source",
    ];

    fn from_row(uuid: Uuid, row: &Row) -> Result<Self, BadRow> {
        if !is_good(row) {
            judge(uuid, row)?;
        }
        Ok(Self(if row.id() == uuid { row.clone() } else { row.as_row(uuid) }))
    }
}

/// Whether a row holds what it must, found out in one pass. What is not seen here may be good still.
fn is_good(row: &Row) -> bool {
    let columns = row.shape().columns();
    let strings = |datum: &Datum| {
        let mut pairs = datum.pairs().iter();
        matches!(datum, Datum::Map(_))
            && pairs.all(|(key, value)| key.as_str().is_some() && value.as_str().is_some())
    };
    let mut seen = 0;
    for (column, cell) in row.cells() {
        let good = match (&*columns[column].name, cell) {
            ("pipeline", Cell::Text(text)) => {
                seen += 1;
                text == EGRESS || text == "ingress"
            }
            ("match" | "actions", Cell::Text(_)) => {
                seen += 1;
                true
            }
            ("priority", Cell::Integer(number)) => u16::try_from(number).is_ok(),
            ("table_id", Cell::Integer(number)) => (0..TABLES.into()).contains(&number),
            ("controller_meter", Cell::Text(_)) => true,
            ("logical_datapath" | "logical_dp_group", Cell::Datum(datum)) => {
                matches!(datum, Datum::One(Atom::Uuid(_)))
            }
            ("tags" | "external_ids", Cell::Datum(datum)) => strings(datum),
            _ => false,
        };
        if !good {
            return false;
        }
    }
    seen == 3 && row.has("priority") && row.has("table_id")
}

/// What is wrong with a row, if anything is.
fn judge(uuid: Uuid, row: &Row) -> Result<(), BadRow> {
    let read = Reader::new::<LogicalFlow>(uuid, row);
    match row.string("pipeline").map_err(|error| read.column(error))? {
        "ingress" | EGRESS => {}
        other => return Err(read.value("pipeline", "ingress or egress", other)),
    }
    for column in ["match", "actions"] {
        row.string(column).map_err(|error| read.column(error))?;
    }
    for column in ["tags", "external_ids"] {
        row.map(column).map_err(|error| read.column(error))?;
    }
    read.optional_string("controller_meter")?;
    read.optional_uuid("logical_datapath")?;
    read.optional_uuid("logical_dp_group")?;
    read.number("table_id", "0..63", |id: u8| (id < TABLES).then_some(id))?;
    read.number("priority", "0..65535", Some::<u16>)?;
    Ok(())
}

/// Datapaths that have flows in common (SB-08).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogicalDpGroup {
    /// `_uuid`.
    pub uuid: Uuid,
    /// Rows of Datapath_Binding.
    pub datapaths: Box<[Uuid]>,
}

impl Record for LogicalDpGroup {
    const TABLE: &'static str = "Logical_DP_Group";
    const COLUMNS: &'static [&'static str] = &["datapaths"];

    fn from_row(uuid: Uuid, row: &Row) -> Result<Self, BadRow> {
        Ok(Self { uuid, datapaths: Reader::new::<Self>(uuid, row).uuids("datapaths")? })
    }
}
