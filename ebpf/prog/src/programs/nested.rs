//! A VM's VLAN devices for a kernel without them, for tests and demos: `nested_out` at the VM's end
//! of a container's veth pushes the container's tag and sends the frame out of the VM's NIC;
//! `nested_in` at that NIC takes the tag off again and finds the container.

use aya_ebpf::bindings::{TC_ACT_OK, TC_ACT_SHOT};
use aya_ebpf::helpers::{bpf_redirect, bpf_skb_vlan_pop, bpf_skb_vlan_push};
use aya_ebpf::macros::{classifier, map};
use aya_ebpf::maps::HashMap;
use aya_ebpf::programs::TcContext;
use ovn_xdp_abi::map::{MAX_NESTED, NestedTag};

/// Index of a container's veth to the tag that its frames get.
#[map]
static NESTED_TAGS: HashMap<u32, NestedTag> = HashMap::with_max_entries(MAX_NESTED, 0);

/// TPID and VLAN identifier, `tpid << 16 | vid`, to index of the container's veth.
#[map]
static NESTED_PORTS: HashMap<u32, u32> = HashMap::with_max_entries(MAX_NESTED, 0);

#[classifier]
pub fn nested_out(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    // SAFETY: the verifier checks every access to the context; map values are plain numbers.
    unsafe {
        let Some(tag) = NESTED_TAGS.get((*skb).ifindex) else { return TC_ACT_SHOT };
        let (tpid, tci, ifindex) = (tag.tpid, tag.tci, tag.ifindex);
        if bpf_skb_vlan_push(skb, tpid.to_be(), tci) != 0 {
            return TC_ACT_SHOT;
        }
        bpf_redirect(ifindex, 0) as i32
    }
}

#[classifier]
pub fn nested_in(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    // SAFETY: as above.
    unsafe {
        if (*skb).vlan_present == 0 {
            return TC_ACT_OK;
        }
        let tpid = u16::from_be((*skb).vlan_proto as u16);
        let key = u32::from(tpid) << 16 | ((*skb).vlan_tci & 0xfff);
        let Some(port) = NESTED_PORTS.get(key) else { return TC_ACT_OK };
        let port = *port;
        if bpf_skb_vlan_pop(skb) != 0 {
            return TC_ACT_SHOT;
        }
        bpf_redirect(port, 0) as i32
    }
}
