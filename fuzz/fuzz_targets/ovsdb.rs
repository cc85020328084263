//! What an OVSDB server sends: nothing panics, a stream means the same however it is cut, and the
//! replica, and who follows its changes, stay in step.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ovn_xdp_compile::{Compiler, Identity, dump};
use ovn_xdp_ovsdb::intern::Interner;
use ovn_xdp_ovsdb::monitor::{Notation, Shapes, UpdatesSeed};
use ovn_xdp_ovsdb::replica::{Change, Replica};
use ovn_xdp_ovsdb::schema::Schema;
use ovn_xdp_ovsdb::wire::{Framer, Kind, Message};
use std::collections::HashMap;
use std::sync::LazyLock;

static SHAPES: LazyLock<Shapes> = LazyLock::new(|| {
    let json = serde_json::from_str(ovn_xdp_local::schema::TEXT).unwrap();
    Shapes::of(&Schema::from_json(&json).unwrap(), &[])
});

/// The frames of a stream that comes in pieces of a size, until it is no stream any more.
fn frames(stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let mut framer = Framer::new(1 << 20);
    let mut frames = Vec::new();
    for bytes in stream.chunks(piece) {
        framer.buffer().extend_from_slice(bytes);
        loop {
            match framer.next_frame() {
                Ok(Some(frame)) => frames.push(frame.bytes),
                Ok(None) => break,
                Err(_) => return frames,
            }
        }
    }
    frames
}

fuzz_target!(|stream: &[u8]| {
    let whole = frames(stream, stream.len().max(1));
    assert_eq!(whole, frames(stream, 7));
    let mut replica = Replica::default();
    let mut strings = Interner::default();
    let mut compiler = Compiler::new(Identity { chassis: "hv1".into() });
    let mut mirror = HashMap::new();
    for bytes in whole {
        let Ok(message) = Message::parse(ovn_xdp_ovsdb::wire::Frame { bytes, offset: 0 }) else {
            continue;
        };
        let (Kind::Notification { method, params } | Kind::Request { method, params, .. }) =
            &message.kind
        else {
            continue;
        };
        let notation = match method.as_str() {
            "update" => Notation::OldAndNew,
            "update2" | "update3" => Notation::Difference,
            _ => continue,
        };
        let Ok(elements) = message.elements(params) else { continue };
        let Some(updates) = elements.last() else { continue };
        let seed = UpdatesSeed { shapes: &SHAPES, notation, strings: &mut strings };
        let Ok(updates) = seed.parse(message.text(updates)) else { continue };
        let (changes, _) = replica.apply(updates);
        for Change { table, row, old, new } in &changes {
            let key = (table.clone(), *row);
            let known = match new {
                Some(new) => mirror.insert(key, new.clone()),
                None => mirror.remove(&key),
            };
            assert_eq!(known, *old);
        }
        compiler.apply(&changes);
        compiler.publish();
    }
    let rows: usize = replica.tables().map(|table| replica.len(table)).sum();
    assert_eq!(rows, mirror.len());
    let mut fresh = Compiler::new(Identity { chassis: "hv1".into() });
    let insertion = |((table, row), new)| Change { table, row, old: None, new: Some(new) };
    fresh.apply(&mirror.into_iter().map(insertion).collect::<Vec<_>>());
    assert_eq!(dump(&compiler.publish()), dump(&fresh.publish()));
});
