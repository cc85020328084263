//! From a workload onto the trunk: tcx ingress at the host end of a tap or veth.
//!
//! The kernel has taken the outermost tag out of the frame already (`vlan_tci`), wherever the guest
//! put it. Tags move into the private header, so that what user space sees is the same however the
//! frame was built, and GSO and checksum debts stay with the frame until the trunk's near end.

use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT};
use aya_ebpf::helpers::{
    bpf_get_hash_recalc, bpf_redirect, bpf_skb_change_head, bpf_skb_store_bytes, bpf_skb_vlan_pop,
};
use aya_ebpf::macros::{classifier, map};
use aya_ebpf::maps::{Array, HashMap};
use aya_ebpf::programs::TcContext;
use core::ptr::{from_ref, read_volatile, write_volatile};
use ovn_xdp_abi::map::{Counter, MAX_INTERFACES, TrunkConfig};
use ovn_xdp_abi::trunk::{FROM_WORKLOAD, TRUNK_HEADER, TrunkHeader};

use super::counter::count;

/// Index of a device to number of the interface.
#[map]
static INTERFACES: HashMap<u32, u32> = HashMap::with_max_entries(MAX_INTERFACES, 0);

#[map]
static TRUNK: Array<TrunkConfig> = Array::with_max_entries(1, 0);

#[classifier]
pub fn workload(ctx: TcContext) -> i32 {
    match lift(ctx.skb.skb) {
        Ok(action) => action,
        Err(reason) => {
            count(reason);
            TC_ACT_SHOT
        }
    }
}

#[inline(always)]
fn lift(skb: *mut __sk_buff) -> Result<i32, Counter> {
    // SAFETY: the context is valid for the whole run of the program, and the verifier checks every
    // access to it; map values are only read, and are plain numbers.
    unsafe {
        let interface = *INTERFACES.get((*skb).ifindex).ok_or(Counter::NotAttached)?;
        let trunk = *TRUNK.get(0).ok_or(Counter::NotAttached)?;
        // Before the head changes: the hash is of the tenant's own headers, so a connection stays
        // on one queue.
        let hash = bpf_get_hash_recalc(skb);
        let queue = ((u64::from(hash) * u64::from(trunk.queues)) >> 32) as u32;

        let mut header = TrunkHeader::new(interface, FROM_WORKLOAD);
        while_tagged(skb, &mut header)?;
        if bpf_skb_change_head(skb, TRUNK_HEADER as u32, 0) != 0 {
            return Err(Counter::NoRoom);
        }
        if bpf_skb_store_bytes(skb.cast(), 0, from_ref(&header).cast(), TRUNK_HEADER as u32, 0) != 0
        {
            return Err(Counter::NoRoom);
        }
        write_volatile(&raw mut (*skb).queue_mapping, queue + 1);
        count(Counter::FromWorkload);
        Ok(bpf_redirect(trunk.ifindex, 0) as i32)
    }
}

/// Moves tags into the header until none is left. `bpf_skb_vlan_pop` brings an inner tag out into
/// the place of the one that it took.
#[inline(always)]
unsafe fn while_tagged(skb: *mut __sk_buff, header: &mut TrunkHeader) -> Result<(), Counter> {
    for _ in 0..=ovn_xdp_abi::trunk::MAX_TAGS {
        // SAFETY: as above; volatile, since the helper changes what the context shows.
        unsafe {
            if read_volatile(&raw const (*skb).vlan_present) == 0 {
                return Ok(());
            }
            let tci = read_volatile(&raw const (*skb).vlan_tci) as u16;
            let tpid = u16::from_be(read_volatile(&raw const (*skb).vlan_proto) as u16);
            *header = header.with_tag(tpid, tci).ok_or(Counter::TooManyTags)?;
            if bpf_skb_vlan_pop(skb) != 0 {
                return Err(Counter::NoRoom);
            }
        }
    }
    Err(Counter::TooManyTags)
}
