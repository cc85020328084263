//! `ovn-xdp check`: reads a whole Southbound DB once and says which flows would not work.

use crate::config::Tls;
use crate::contents::{ContentsError, read};
use ovn_xdp_compile::check::{Report, check};

/// Compiles everything that is in `db`.
///
/// # Errors
/// If the database cannot be read.
pub async fn run(db: &str, tls: Option<Tls>) -> Result<Report, ContentsError> {
    Ok(check(read(db, tls, false).await?.replica()))
}

/// Whether something in it would not work as written by itself: a flow or a row that was skipped.
pub fn failed(report: &Report) -> bool {
    !report.skipped.is_empty() || !report.bad_rows.is_empty()
}
