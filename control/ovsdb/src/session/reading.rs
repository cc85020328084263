//! Following a file: a server that never changes, and to which conditions are applied here.

use std::convert::Infallible;
use std::sync::Arc;

use super::{End, Session};
use crate::client::{Command, Content, Report, State};
use crate::file::FileDatabase;
use crate::monitor::{RowChange, RowUpdate, Shapes};
use crate::remote::Remote;
use crate::replica::Replica;
use crate::transact::TransactError;

impl Session {
    /// Follows a file, which does not change; the conditions are applied here.
    pub(super) async fn serve_file(
        &mut self,
        remote: &Remote,
        file: FileDatabase,
    ) -> Result<Infallible, End> {
        let FileDatabase { schema, shapes, replica } = file;
        let shapes = Arc::new(shapes);
        self.conditions.reconnect(false);
        self.enter(State::File, remote);
        self.status.send_modify(|status| status.downloads += 1);
        self.report(Report::Connected { remote: remote.clone(), schema: Arc::new(schema) })?;
        let mut everything = Some(Content::Everything(shapes.clone()));
        loop {
            let changed = self.conditions.next_change().is_some();
            self.conditions.answered();
            if changed || everything.is_some() {
                let updates = self.matching(&shapes, &replica);
                let content = everything.take().unwrap_or(Content::Selection(shapes.clone()));
                self.report(Report::Content { content, updates })?;
            }
            if let Some(generation) = self.conditions.news() {
                self.report(Report::Settled { generation })?;
            }
            match self.commands.recv().await.ok_or(End::Dropped)? {
                Command::Conditions(changes, generation) => {
                    self.conditions.want(changes, generation);
                }
                Command::Transact(_, answer) => {
                    let error = TransactError::ReadOnly { remote: remote.to_string() };
                    let _ = answer.send(Err(error));
                }
                Command::Reconnect => return Err(End::Reconnect),
                Command::Resync(_) | Command::ForgetClusters => {}
            }
        }
    }

    fn matching(&self, shapes: &Shapes, replica: &Replica) -> Vec<RowUpdate> {
        let wanted = self.conditions.wanted();
        let mut updates = Vec::new();
        for shape in shapes.iter() {
            let conditions = wanted.get(shape.table());
            for (uuid, row) in replica.rows(shape.table()) {
                if conditions.is_none_or(|conditions| conditions.matches(uuid, row)) {
                    let change = RowChange::Insert(row.clone());
                    updates.push(RowUpdate { shape: shape.clone(), row: uuid, change });
                }
            }
        }
        updates
    }
}
