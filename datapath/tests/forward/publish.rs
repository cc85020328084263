//! Generations reach the workers, and control knows when (TRAP-8).

use crate::kit::*;
use ovn_xdp_datapath::publish::Generation;
use ovn_xdp_datapath::publisher::Publisher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[test]
fn a_generation_is_seen_when_every_worker_has_taken_it_up() {
    let publisher = Publisher::new();
    let wakes = Arc::new(AtomicU64::new(0));
    let join = || {
        let wakes = Arc::clone(&wakes);
        publisher.join(move || {
            wakes.fetch_add(1, Ordering::Relaxed);
        })
    };
    let (one, other) = (join(), join());
    let number = publisher.publish(Generation::default());
    assert_eq!(number, 1);
    assert_eq!(wakes.load(Ordering::Relaxed), 2, "sleeping workers are woken");
    let mut generation = one.current();
    assert!(one.refresh(&mut generation));
    assert!(!one.refresh(&mut generation), "nothing new");
    assert_eq!(publisher.seen_by_all(), 0);
    assert!(!publisher.wait(number, Duration::ZERO));
    let thread = std::thread::spawn(move || {
        let mut generation = other.current();
        other.refresh(&mut generation);
        other
    });
    assert!(publisher.wait(number, Duration::from_secs(60)));
    drop(thread.join().unwrap());
    publisher.publish(Generation::default());
    assert_eq!(publisher.seen_by_all(), 1);
    one.refresh(&mut generation);
    assert_eq!(publisher.seen_by_all(), 2, "a worker that left is not waited for");
}

#[test]
fn control_is_told_of_progress() {
    let publisher = Publisher::new();
    let told = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&told);
    publisher.on_progress(move || {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let reader = publisher.join(|| ());
    let mut generation = reader.current();
    publisher.publish(Generation::default());
    reader.refresh(&mut generation);
    assert_eq!(told.load(Ordering::Relaxed), 1);
}

#[test]
fn a_change_takes_effect_on_what_is_cached_and_leaves_the_rest_cached() {
    let mut host = Host::new(hypervisor(1));
    let near = udp(None, (VM1, 1, 1), (VM2, 1, 4), b"x");
    let routed = udp(Some(RED_TAG), (RED, 1, 2), (ROUTER_A, 2, 5), b"x");
    for frame in [&near, &routed] {
        assert_eq!(host.send(1, frame).len(), 1);
    }
    // Switch B changes: only the packet that was there is walked again.
    host.change(|generation| {
        let mut b = (**generation.datapaths.get(&datapath_key(SWITCH_B)).unwrap()).clone();
        b.epoch += 100;
        b.ingress = ingress(vec![vec![rule(0, vec![], vec![])]]);
        generation.datapaths.insert_mut(b.key, Arc::new(b));
    });
    assert_eq!(host.send(1, &near).len(), 1);
    assert_eq!(host.send(1, &routed).len(), 0);
    let counters = host.worker.counters();
    assert_eq!((counters.hits.get(), counters.stale.get()), (1, 1));
    // The tunnel goes.
    host.change(|generation| {
        generation.tunnels.remove_mut(&ovn_xdp_datapath::key::TunnelId(1));
    });
    assert_eq!(host.send(1, &near).len(), 0);
    // And comes back.
    host.change(|generation| generation.tunnels = hypervisor(1).tunnels);
    assert_eq!(host.send(1, &near).len(), 1);
}

#[test]
fn a_port_that_goes_away_stops_sending_at_once() {
    let mut host = Host::new(hypervisor(1));
    let frame = udp(Some(RED_TAG), (RED, 1, 2), (VM2, 1, 4), b"x");
    assert_eq!(host.send(1, &frame).len(), 1);
    host.change(|generation| {
        let id = ovn_xdp_datapath::key::InterfaceId(1);
        let mut interface = (**generation.interfaces.get(id).unwrap()).clone();
        interface.children.set(tag(RED_TAG), None);
        interface.epoch += 1;
        generation.interfaces.insert(id, Arc::new(interface));
    });
    assert!(host.send(1, &frame).is_empty());
}

#[test]
fn a_worker_that_sleeps_runs_what_is_published_and_is_left_alone() {
    let publisher = Publisher::new();
    let (calls, told) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let woken = Arc::clone(&calls);
    let reader = publisher.join(move || {
        woken.fetch_add(1, Ordering::Relaxed);
    });
    let progress = Arc::clone(&told);
    publisher.on_progress(move || {
        progress.fetch_add(1, Ordering::Relaxed);
    });
    let mut known = reader.current();
    assert!(reader.sleep(&known));
    let number = publisher.publish(Generation::default());
    assert_eq!(publisher.seen_by_all(), number);
    assert_eq!((calls.load(Ordering::Relaxed), told.load(Ordering::Relaxed)), (0, 1));
    assert!(reader.refresh(&mut known));
    assert_eq!(known.number, number);

    publisher.publish(Generation::default());
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert!(!reader.sleep(&known), "there is something to take up first");
    assert_eq!(publisher.seen_by_all(), number);
    assert!(reader.refresh(&mut known));
    assert!(reader.sleep(&known));
    assert_eq!(publisher.seen_by_all(), number + 1);
}

/// However the two interleave: what control is told that a worker runs is what the worker takes up
/// when it looks next, or something newer.
#[test]
fn a_worker_never_wakes_to_an_older_generation_than_it_was_said_to_run() {
    const GENERATIONS: u64 = 20_000;
    let publisher = Publisher::new();
    let reader = publisher.join(|| {});
    let said = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut known = reader.current();
            while known.number < GENERATIONS {
                let _ = reader.sleep(&known);
                let before = said.load(Ordering::SeqCst);
                reader.refresh(&mut known);
                assert!(known.number >= before, "{} after {before}", known.number);
            }
        });
        for _ in 0..GENERATIONS {
            publisher.publish(Generation::default());
            said.fetch_max(publisher.seen_by_all(), Ordering::SeqCst);
        }
    });
}
