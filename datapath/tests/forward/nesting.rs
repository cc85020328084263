//! Containers behind the VLAN tags of a VM (NEST-*, LP-12 to LP-14, TRAP-4).

use crate::kit::*;
use ovn_xdp_abi::drop::DropReason;
use ovn_xdp_datapath::field::{self, flag};
use ovn_xdp_datapath::frame::VlanHeader;
use ovn_xdp_datapath::memory::{MemoryFrame, Sent};
use ovn_xdp_datapath::program::Op;
use ovn_xdp_datapath::program::Pipeline;
use ovn_xdp_datapath::publish::{Datapath, Stages};
use std::sync::Arc;

#[test]
fn a_tag_beside_the_frame_means_what_a_tag_in_it_means() {
    let mut hv1 = Host::new(hypervisor(1));
    let inside = hv1.send(1, &udp(Some(RED_TAG), (RED, 1, 2), (VM2, 1, 4), b"x"));
    let beside = MemoryFrame::new(&udp(None, (RED, 1, 2), (VM2, 1, 4), b"x"));
    let tag = VlanHeader { tpid: 0x8100, tci: RED_TAG };
    let beside = hv1.send_frame(1, Some(tag), beside);
    assert_eq!(to_nic(&inside), to_nic(&beside));
}

#[test]
fn containers_of_one_vm_on_different_switches_reach_each_other_through_their_vm() {
    let mut hv1 = Host::new(hypervisor(1));
    let sent = hv1.send(1, &udp(Some(RED_TAG), (RED, 1, 2), (ROUTER_A, 2, 3), b"x"));
    let (tag, bytes) = to_workload(&sent);
    assert_eq!(tag, Some(BLUE_TAG));
    assert_eq!(bytes[..12], [BLUE, ROUTER_B].concat());
}

#[test]
fn a_container_and_its_vm_reach_each_other() {
    let mut hv1 = Host::new(hypervisor(1));
    let sent = hv1.send(1, &udp(Some(RED_TAG), (RED, 1, 2), (VM1, 1, 1), b"x"));
    assert_eq!(to_workload(&sent).0, None);
    let sent = hv1.send(1, &udp(None, (VM1, 1, 1), (RED, 1, 2), b"x"));
    assert_eq!(to_workload(&sent).0, Some(RED_TAG));
}

#[test]
fn an_unknown_tag_enters_the_parents_pipeline_still_tagged() {
    // The switch drops what is tagged; nothing strips the tag on the way (TRAP-4).
    let mut hv1 = Host::new(hypervisor(1));
    let sent = hv1.send(1, &udp(Some(999), (VM1, 1, 1), (VM2, 1, 4), b"x"));
    assert!(sent.is_empty());
    let ports = hv1.worker.counters().ports();
    let parent = ports.iter().find(|port| port.0.1 == port_key(1)).unwrap();
    assert_eq!(parent.1.drops.get(DropReason::LogicalFlow), 1);
}

#[test]
fn with_vlan_passthru_an_unknown_tag_arrives_as_it_left() {
    let passthru = |number| {
        let mut generation = hypervisor(number);
        let mut a = (**generation.datapaths.get(&datapath_key(SWITCH_A)).unwrap()).clone();
        let first = tables(vec![vec![rule(0, vec![], vec![next(1)])]]);
        let others = a.ingress.iter().skip(1).cloned();
        a.ingress = Stages::new(Pipeline::Ingress, first.into_iter().chain(others));
        generation.datapaths.insert_mut(a.key, a.into());
        generation
    };
    let (mut hv1, mut hv2) = (Host::new(passthru(1)), Host::new(passthru(2)));
    let frame = udp(Some(999), (VM1, 1, 1), (VM2, 1, 4), b"x");
    for beside in [false, true] {
        let sent = if beside {
            let mut untagged = frame.clone();
            untagged.drain(12..16);
            let tag = VlanHeader { tpid: 0x8100, tci: 999 };
            hv1.send_frame(1, Some(tag), MemoryFrame::new(&untagged))
        } else {
            hv1.send(1, &frame)
        };
        let sent = hv2.receive(to_nic(&sent));
        let (tag, bytes) = to_workload(&sent);
        assert_eq!((tag, bytes), (None, &frame[..]));
    }
}

#[test]
fn of_two_tags_the_outer_one_is_the_containers_and_the_inner_one_is_seen_by_the_switch() {
    let mut hv1 = Host::new(hypervisor(1));
    let mut frame = udp(Some(7), (RED, 1, 2), (VM2, 1, 4), b"x");
    frame.splice(12..12, [0x81, 0, 0, RED_TAG as u8]);
    assert!(hv1.send(1, &frame).is_empty());
    let ports = hv1.worker.counters().ports();
    let child = ports.iter().find(|port| port.0.1 == port_key(2)).unwrap();
    assert_eq!(child.1.drops.get(DropReason::LogicalFlow), 1);
}

#[test]
fn a_broadcast_reaches_each_member_once_with_its_own_tag_and_never_its_sender() {
    // NEST-21, OUT-6.
    let mut hv1 = Host::new(hypervisor(1));
    let mut hv2 = Host::new(hypervisor(2));
    let sent = hv1.send(1, &udp(Some(RED_TAG), (RED, 1, 2), ([255; 6], 1, 255), b"x"));
    let tags: Vec<_> = sent
        .iter()
        .filter_map(|sent| match sent {
            Sent::Interface(_, vlan, _) => Some(vlan.map(|vlan| vlan.tci)),
            Sent::Nic(..) => None,
        })
        .collect();
    assert_eq!(tags, [None], "the VM, but not the sender");
    let Some(Sent::Nic(_, wire)) = sent.iter().find(|sent| matches!(sent, Sent::Nic(..))) else {
        panic!("no copy for the other hypervisor");
    };
    let sent = hv2.receive(wire);
    assert_eq!(to_workload(&sent).0, None, "vm2 is the only member there");
}

/// Hypervisor 1, where vm1's frames go to the whole of switch A, with these flags.
fn flooding(flags: u32, change: impl FnOnce(&mut Datapath)) -> Host {
    let mut generation = hypervisor(1);
    let mut a = (**generation.datapaths.get(&datapath_key(SWITCH_A)).unwrap()).clone();
    let ops = vec![
        Op::Load(field::FLAGS, flags.into()),
        Op::Load(field::OUTPORT, FLOOD.into()),
        Op::Output,
    ];
    a.ingress = ingress(vec![vec![rule(1, vec![], ops)]]);
    change(&mut a);
    generation.datapaths.insert_mut(a.key, Arc::new(a));
    Host::new(generation)
}

#[test]
fn what_must_not_leave_the_chassis_reaches_neither_tunnels_nor_patch_ports_of_a_group() {
    // Routed, vm1's frame for switch B comes back to blue, a container of the same VM.
    let frame = udp(None, (VM1, 1, 1), (ROUTER_A, 2, 3), b"all");
    let tags = |sent: &[Sent]| -> Vec<Option<u16>> {
        let tag = |sent: &Sent| match sent {
            Sent::Interface(_, vlan, _) => vlan.map(|vlan| vlan.tci),
            Sent::Nic(..) => None,
        };
        sent.iter().map(tag).collect()
    };
    let mut tagged = tags(&flooding(0, |_| {}).send(1, &frame));
    tagged.sort();
    assert_eq!(tagged, [None, Some(RED_TAG), Some(BLUE_TAG)]);
    assert_eq!(tags(&flooding(flag::LOCAL_ONLY, |_| {}).send(1, &frame)), [Some(RED_TAG)]);
    let localport = |a: &mut ovn_xdp_datapath::publish::Datapath| {
        let mut sender = (**a.ports.get(port_key(1)).unwrap()).clone();
        sender.localport = true;
        a.ports.insert(port_key(1), Arc::new(sender));
    };
    assert_eq!(tags(&flooding(0, localport).send(1, &frame)), [Some(RED_TAG)]);
}
