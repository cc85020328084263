//! The calibration of the test kit: what every other test here relies on holds between two stock
//! chassis. If this fails, suspect the machine or the kit, not our chassis.

use std::time::Duration;

use ovn_xdp_kit::lab::{LabOptions, Stock};
use ovn_xdp_kit::traffic;

#[test]
fn every_pair_of_workloads_on_two_stock_chassis_pings_and_streams() {
    let mut lab = Stock::start(LabOptions::default()).unwrap();
    let patience = Duration::from_secs(5);
    let mut failures = Vec::new();
    for (from, to) in lab.workloads.pairs() {
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
    assert!(failures.is_empty(), "{}\n{}", failures.join("\n"), lab.account());
}
