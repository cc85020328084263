//! From user space to a workload: tcx ingress at the trunk's near end, behind `lower`.

use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT};
use aya_ebpf::helpers::bpf_redirect;
use aya_ebpf::macros::{classifier, map};
use aya_ebpf::maps::HashMap;
use aya_ebpf::programs::TcContext;
use core::ptr::read_volatile;
use ovn_xdp_abi::map::{Counter, MAX_INTERFACES};

use super::counter::count;

/// Number of the interface to index of its device.
#[map]
static TARGETS: HashMap<u32, u32> = HashMap::with_max_entries(MAX_INTERFACES, 0);

#[classifier]
pub fn deliver(ctx: TcContext) -> i32 {
    match redirect(ctx.skb.skb) {
        Ok(action) => action,
        Err(reason) => {
            count(reason);
            TC_ACT_SHOT
        }
    }
}

#[inline(always)]
fn redirect(skb: *mut __sk_buff) -> Result<i32, Counter> {
    // SAFETY: the context is valid for the whole run of the program, the metadata is read after its
    // length was checked, and the verifier holds us to both.
    unsafe {
        let meta = read_volatile(&raw const (*skb).data_meta) as usize;
        let data = read_volatile(&raw const (*skb).data) as usize;
        if meta + size_of::<u32>() > data {
            return Err(Counter::Foreign);
        }
        let interface = (meta as *const u32).read_unaligned();
        let target = *TARGETS.get(interface).ok_or(Counter::NoTarget)?;
        count(Counter::ToWorkload);
        Ok(bpf_redirect(target, 0) as i32)
    }
}
