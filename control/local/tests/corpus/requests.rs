//! A client's requests, carried out as the daemon does it: what is refused changed nothing, and what
//! is taken means the same as a fresh start with the rows that are there.

use ovn_xdp_compile::{Compiler, Identity, LocalPort, dump};
use ovn_xdp_datapath::key::InterfaceId;
use ovn_xdp_local::Database;
use ovn_xdp_local::database::inverse;
use ovn_xdp_local::document::Document;
use ovn_xdp_local::transaction::{Operations, stage};
use ovn_xdp_ovsdb::wire::Framer;

fn compiler() -> Compiler {
    let mut compiler = Compiler::new(Identity { chassis: "hv1".into() });
    let interface = InterfaceId(1);
    compiler.set_interface(interface, "tap0");
    compiler.bind("vm1", Some(LocalPort { interface, tag: None }));
    compiler
}

/// What a client's transaction does, as the daemon carries it out.
fn transact(database: &mut Database, compiler: &mut Compiler, operations: &Operations) -> bool {
    let Ok(staged) = stage(database, operations, &|table, row| compiler.knows(table, row)) else {
        return false;
    };
    compiler.apply(&staged.changes);
    if compiler.verify(&staged.changes).is_err() {
        compiler.apply(&inverse(&staged.changes));
        return false;
    }
    database.apply(&staged.changes);
    true
}

/// Carries out the requests in a stream, and checks what came of each.
pub fn requests(stream: &[u8]) {
    let mut framer = Framer::new(1 << 20);
    framer.buffer().extend_from_slice(stream);
    let mut database = Database::default();
    let mut running = compiler();
    while let Ok(Some(frame)) = framer.next_frame() {
        let Ok(text) = String::from_utf8(frame.bytes) else { continue };
        let Ok(request) = Document::read(text) else { continue };
        let Some(params) = request.root().get("params") else { continue };
        let place = params.place();
        let operations = Operations::of(request, place, 0);
        let before = dump(&running.publish());
        let taken = transact(&mut database, &mut running, &operations);
        let after = dump(&running.publish());
        if taken {
            assert_eq!(running.skipped().count(), 0);
            let mut fresh = compiler();
            fresh.apply(&database.insertions());
            assert_eq!(after, dump(&fresh.publish()));
        } else {
            assert_eq!(after, before);
        }
    }
}
