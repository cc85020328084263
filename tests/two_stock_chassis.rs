//! The calibration of the test kit: what every other test here relies on holds between two stock
//! chassis. If this fails, suspect the machine or the kit, not our chassis.

use std::time::Duration;

use ovn_xdp_kit::central::{Central, Southbound};
use ovn_xdp_kit::chassis::Chassis;
use ovn_xdp_kit::link::Underlay;
use ovn_xdp_kit::stock::{Ports, StockChassis, StockOptions};
use ovn_xdp_kit::topology::{self, PORTS, Workloads};
use ovn_xdp_kit::traffic;

#[test]
fn every_pair_of_workloads_on_two_stock_chassis_pings_and_streams() {
    let central = Central::new(Southbound::Standalone).unwrap();
    topology::build(&central).unwrap();
    let underlay = Underlay::new(1500).unwrap();
    let remote = central.remote();
    let [mut hv1, mut hv2] = [("hv1", 1), ("hv2", 2)].map(|(name, n)| {
        let address = ([192, 0, 2, n].into(), 24);
        StockChassis::new(
            &underlay,
            StockOptions { name, remote: &remote, address, ports: Ports::Packet },
        )
        .unwrap()
    });
    let workloads = Workloads::start([&mut hv1, &mut hv2]).unwrap();
    central.wait_up(PORTS.iter().map(|port| port.name)).unwrap();
    central.sync_chassis().unwrap();

    let patience = Duration::from_secs(5);
    let mut failures = Vec::new();
    for (from, to) in workloads.pairs() {
        for address in to.addresses().ips() {
            let pair = format!("{} to {} at {address}", from.role(), to.role());
            // The first packet each way is lost to the tunnel's own ARP.
            let pings = traffic::ping(from.namespace(), address, 3, patience).unwrap();
            if pings.received < pings.sent - 1 {
                failures.push(format!("{pair}: {pings:?}"));
                continue;
            }
            let stream = traffic::tcp(from.namespace(), to.namespace(), address, 200_000, patience);
            if let Err(error) = stream {
                failures.push(format!("{pair}: {error:#}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}\n{}\n{}", failures.join("\n"), hv1.account(), hv2.account());
}
