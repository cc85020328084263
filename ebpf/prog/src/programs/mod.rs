//! The eBPF programs of ovn-xdp.
//!
//! In the order of a packet's path: `workload` (tcx, host end of a workload) lifts a frame onto the
//! trunk; `trunk` (XDP, far end) hands it to user space; `lower` (XDP) and `deliver` (tcx), both at
//! the near end, bring answers to their workload; `nic` (XDP) takes tunnel packets off the underlay.
//! A tenant's frame is redirected or dropped, never passed to the host. Beside them `nested`: a VM's
//! VLAN devices, for tests.
//!
//! No operation here may panic: a panic branch spoils what the verifier sees.

mod counter;
mod deliver;
mod lower;
mod nested;
mod nic;
mod trunk;
mod workload;

#[cfg(any(bpf, target_arch = "bpf"))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// Of the two licences the one that the kernel knows by name.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
