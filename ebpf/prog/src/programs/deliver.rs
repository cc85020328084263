//! From user space to a workload: tcx ingress at the trunk's near end.
//!
//! The private header comes off in front of frames of any protocol, since it says IPv4 to the
//! kernel; `bpf_skb_adjust_room` removes what follows the first fourteen bytes, so the tenant's
//! Ethernet header is moved to the front first. The receiving device reads the real ethertype.

use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC};
use aya_ebpf::helpers::{
    bpf_redirect, bpf_skb_adjust_room, bpf_skb_load_bytes, bpf_skb_store_bytes, bpf_skb_vlan_push,
};
use aya_ebpf::macros::{classifier, map};
use aya_ebpf::maps::HashMap;
use aya_ebpf::programs::TcContext;
use core::ptr::from_ref;
use ovn_xdp_abi::map::{Counter, MAX_INTERFACES};
use ovn_xdp_abi::trunk::{TO_WORKLOAD, TRUNK_HEADER, TrunkHeader};

use super::counter::count;

/// Number of the interface to index of its device.
#[map]
static TARGETS: HashMap<u32, u32> = HashMap::with_max_entries(MAX_INTERFACES, 0);

#[derive(Default)]
#[repr(C)]
struct Start {
    header: TrunkHeader,
    ethernet: [u16; 7],
}

#[classifier]
pub fn deliver(ctx: TcContext) -> i32 {
    match lower(ctx.skb.skb) {
        Ok(action) => action,
        Err(reason) => {
            count(reason);
            TC_ACT_SHOT
        }
    }
}

#[inline(always)]
fn lower(skb: *mut __sk_buff) -> Result<i32, Counter> {
    let mut start = Start::default();
    // SAFETY: the helpers get buffers of the size that they are told; the context and map values
    // are checked by the verifier.
    unsafe {
        let size = size_of::<Start>() as u32;
        if bpf_skb_load_bytes(skb.cast(), 0, (&raw mut start).cast(), size) != 0
            || !start.header.is(TO_WORKLOAD)
        {
            return Err(Counter::Foreign);
        }
        let target = *TARGETS.get(start.header.interface()).ok_or(Counter::NoTarget)?;
        let ethernet = from_ref(&start.ethernet).cast();
        if bpf_skb_store_bytes(skb.cast(), 0, ethernet, TRUNK_HEADER as u32, 0) != 0
            || bpf_skb_adjust_room(skb, -(TRUNK_HEADER as i32), BPF_ADJ_ROOM_MAC, 0) != 0
        {
            return Err(Counter::NotRestored);
        }
        if start.header.tags() > 0 {
            let (tpid, tci) = start.header.tag(0);
            if bpf_skb_vlan_push(skb, tpid.to_be(), tci) != 0 {
                return Err(Counter::NotRestored);
            }
        }
        count(Counter::ToWorkload);
        Ok(bpf_redirect(target, 0) as i32)
    }
}
