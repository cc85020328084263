//! `ovn-xdp check`: reads a whole Southbound DB once and says which flows would not work.

use crate::config::TlsFiles;
use crate::contents::{ContentsError, read};
use crate::progress::Progress;
use ovn_xdp_compile::check::{Report, check_with};

/// Compiles everything that is in `db`, with a bar on the terminal if it takes long.
///
/// # Errors
/// If the database cannot be read.
pub async fn run(db: &str, tls: Option<TlsFiles>) -> Result<Report, ContentsError> {
    let client = read(db, tls, false).await?;
    let mut progress = Progress::new("flows compiled");
    let report = check_with(client.replica(), |done, all| progress.show(done, all));
    progress.end();
    Ok(report)
}
