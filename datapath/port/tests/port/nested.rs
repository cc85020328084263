//! Containers nested in a VM without the kernel's VLAN devices.

use crate::lab::{Lab, exec, inside, ip, ping, try_exec};
use ovn_xdp_datapath::frame::VlanHeader;
use ovn_xdp_port::nested::{Nested, NestedError};

fn vlan(vid: u16) -> VlanHeader {
    VlanHeader { tpid: 0x8100, tci: vid }
}

#[test]
fn containers_with_the_same_tag_in_two_vms_talk_and_the_vms_do_too() {
    let mut lab = Lab::new();
    let vms = [lab.namespace("vm1"), lab.namespace("vm2")];
    lab.veth((&vms[0], "nic"), (&vms[1], "nic"));
    let mut nests = Vec::new();
    for (number, vm) in (1..).zip(&vms) {
        ip(vm, &format!("address add 10.9.0.{number}/24 dev nic"));
        nests.push(inside(vm, || Nested::attach("nic").unwrap()));
    }
    for (number, vm) in (1..).zip(&vms) {
        for tag in [7, 8] {
            let container = lab.namespace(&format!("c{number}-{tag}"));
            lab.veth((vm, &format!("c{tag}")), (&container, "eth0"));
            ip(&container, &format!("address add 10.9.{tag}.{number}/24 dev eth0"));
            let nest = &mut nests[number - 1];
            inside(vm, || nest.add(&format!("c{tag}"), vlan(tag)).unwrap());
        }
    }
    let first = &vms[0];
    ping(first, "10.9.0.2");
    let container = |tag: u16| first.replace("-vm1", &format!("-c1-{tag}"));
    ping(&container(7), "10.9.7.2");
    ping(&container(8), "10.9.8.2");

    let again = inside(first, || nests[0].add("c8", vlan(7)));
    assert!(matches!(again, Err(NestedError::TagInUse(7))));

    nests[0].remove(vlan(7));
    assert!(!try_exec(&container(7), "ping -c 1 -W 1 10.9.7.2").status.success());
    exec(&container(8), "ping -c 1 -W 5 10.9.8.2");
}
