//! Logical flows and the groups of datapaths that share them.

use super::{BadRow, Reader, Record, StringMap};
use ovn_xdp_datapath::program::Pipeline;
use ovn_xdp_ovsdb::Row;
use std::sync::Arc;
use uuid::Uuid;

/// Tables of one pipeline, more than any version has: `next` of OVN 26.03 goes up to 34 (ACT-P4).
pub const TABLES: u8 = 64;

/// A logical flow (SB-07).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogicalFlow {
    /// `_uuid`.
    pub uuid: Uuid,
    /// The datapath, unless only the group says (EX-S11).
    pub datapath: Option<Uuid>,
    /// Row of Logical_DP_Group.
    pub group: Option<Uuid>,
    /// Which pipeline.
    pub pipeline: Pipeline,
    /// Which table of it.
    pub table: u8,
    /// 0..65535; the highest that matches wins.
    pub priority: u16,
    /// The match, as text.
    pub matches: Arc<str>,
    /// The actions, as text.
    pub actions: Arc<str>,
    /// `in_out_port` (EX-S8) and others; rarely any.
    pub tags: Option<Box<StringMap>>,
    /// Meter of what it sends up (EX-S12).
    pub meter: Option<Arc<str>>,
    /// `external_ids:stage-name`, for people.
    pub stage: Arc<str>,
}

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
        let read = Reader::new::<Self>(uuid, row);
        let pipeline = match &*read.string("pipeline")? {
            "ingress" => Pipeline::Ingress,
            "egress" => Pipeline::Egress,
            other => return Err(read.value("pipeline", "ingress or egress", other)),
        };
        let tags = read.map("tags")?;
        let ids = row.map("external_ids").map_err(|error| read.column(error))?;
        Ok(Self {
            uuid,
            datapath: read.optional_uuid("logical_datapath")?,
            group: read.optional_uuid("logical_dp_group")?,
            pipeline,
            table: read.number("table_id", "0..63", |id: u8| (id < TABLES).then_some(id))?,
            priority: read.number("priority", "0..65535", Some)?,
            matches: read.string("match")?,
            actions: read.string("actions")?,
            tags: (!tags.is_empty()).then(|| Box::new(tags)),
            meter: read.optional_string("controller_meter")?,
            stage: ids.get("stage-name").cloned().unwrap_or_default(),
        })
    }
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
