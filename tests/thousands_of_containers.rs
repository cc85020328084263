//! 4094 containers in one VM, each behind a tag of its own (NEST-02, NEST-25).

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use ovn_xdp_kit::capture::Capture;
use ovn_xdp_kit::central::{Central, Southbound};
use ovn_xdp_kit::chassis::Chassis;
use ovn_xdp_kit::geneve::verify_checksums;
use ovn_xdp_kit::link::{Mac, Underlay};
use ovn_xdp_kit::packet::PacketSocket;
use ovn_xdp_kit::raw::{Ends, tag, tagged};
use ovn_xdp_kit::wait::{self};
use ovn_xdp_kit::workload::{Addresses, LINK, Workload};
use ovn_xdp_kit::xdp_chassis::{XdpChassis, XdpOptions};

const TAGS: std::ops::RangeInclusive<u16> = 1..=4094;
const LONG: Duration = Duration::from_secs(120);

fn mac(tag: u16) -> Mac {
    let [a, b] = tag.to_be_bytes();
    Mac([0x02, 0, 0, 1, a, b])
}

fn ip(tag: u16) -> Ipv4Addr {
    Ipv4Addr::from(0x0a01_0000 + 0x100 + u32::from(tag))
}

#[test]
fn every_one_of_4094_containers_of_a_vm_is_answered_under_its_own_tag() {
    let central = Central::new(Southbound::Standalone).unwrap();
    let router = Addresses::router(1);
    central.nb("lr-add router -- ls-add pods -- lsp-add pods vm").unwrap();
    central.nb(&format!("lrp-add router to-pods {} 10.1.0.1/16", router.mac)).unwrap();
    central
        .nb("lsp-add pods to-router -- lsp-set-type to-router router \
             -- lsp-set-addresses to-router router \
             -- lsp-set-options to-router router-port=to-pods")
        .unwrap();
    for chunk in TAGS.collect::<Vec<_>>().chunks(512) {
        let lines = chunk.iter().map(|tag| {
            let addresses = format!("{} {}", mac(*tag), ip(*tag));
            (format!("lsp-add pods c{tag} vm {tag}"), format!("c{tag}"), addresses)
        });
        let mut words = Vec::new();
        for (add, name, addresses) in lines {
            words.extend(add.split(' ').map(str::to_owned));
            for set in ["lsp-set-addresses", "lsp-set-port-security"] {
                words.extend(["--".into(), set.into(), name.clone(), addresses.clone()]);
            }
            words.push("--".into());
        }
        words.pop();
        central.nbctl(&words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    }
    central.sync().unwrap();

    let underlay = Underlay::new(1500).unwrap();
    let remote = central.remote();
    let options = XdpOptions::hv1(Path::new(env!("CARGO_BIN_EXE_ovn-xdp")), &remote);
    let mut chassis = XdpChassis::new(&underlay, options).unwrap();
    let vm =
        Workload::plugged("vm", chassis.namespace(), "vm", Addresses::nth(9, 9), false).unwrap();
    chassis.plug("vm", "vm").unwrap();
    wait::until("all containers to be up", LONG, || {
        let up =
            central.sb("--bare --columns=logical_port find Port_Binding parent_port=vm up=true");
        let count = up.map_err(|error| error.to_string())?.split_whitespace().count();
        if count == TAGS.count() { Ok(()) } else { Err(format!("{count} are")) }
    })
    .unwrap();

    let wire = PacketSocket::open(vm.namespace(), LINK).unwrap();
    let mut capture = Capture::start(vm.namespace(), LINK).unwrap();
    let mut unanswered: BTreeSet<u16> = TAGS.collect();
    for tags in TAGS.collect::<Vec<_>>().chunks(64) {
        for tag in tags {
            let ends = Ends {
                from_mac: mac(*tag),
                to_mac: router.mac,
                from: ip(*tag).into(),
                to: [10, 1, 0, 1].into(),
            };
            wire.send(&tagged(&ends.echo(*tag, 1), &[*tag])).unwrap();
        }
        for _ in tags {
            let frame = capture
                .wait_for("echo reply with a tag", Duration::from_secs(5), |frame| {
                    !frame.outgoing && tag(&frame.bytes).is_some()
                })
                .unwrap_or_else(|error| panic!("{error:#}\n{}", chassis.account()));
            let tag = tag(&frame.bytes).unwrap();
            verify_checksums(&frame.bytes).unwrap();
            assert_eq!(frame.bytes[..6], mac(tag).0, "{frame:?}");
            assert_eq!(frame.bytes[34..38], ip(tag).octets(), "{frame:?}");
            assert!(unanswered.remove(&tag), "tag {tag} was answered twice");
        }
    }
    assert!(unanswered.is_empty(), "{unanswered:?}");
}
