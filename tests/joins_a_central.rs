//! Our chassis joins over every kind of remote, says what it is (CH-*), and no flag that northd
//! reads is missing (FF-*), so that no cluster is downgraded by it.

use std::path::Path;
use std::time::Duration;

use ovn_xdp_kit::central::{Central, Southbound};
use ovn_xdp_kit::chassis::Chassis;
use ovn_xdp_kit::lab::{LabOptions, Mixed};
use ovn_xdp_kit::link::Underlay;
use ovn_xdp_kit::pki::Identity;
use ovn_xdp_kit::traffic;
use ovn_xdp_kit::wait::{self, PATIENCE};
use ovn_xdp_kit::xdp_chassis::{XdpChassis, XdpOptions};

fn chassis(
    underlay: &Underlay,
    name: &str,
    remote: &str,
    identity: Option<&Identity>,
) -> XdpChassis {
    let options = XdpOptions::hv1(Path::new(env!("CARGO_BIN_EXE_ovn-xdp")), remote);
    XdpChassis::new(underlay, XdpOptions { name, identity, ..options }).unwrap()
}

fn await_row(central: &Central, chassis: &XdpChassis, name: &str) {
    wait::until(&format!("the Chassis row of {name}"), PATIENCE, || {
        let rows = central.sbctl(&["find", "Chassis", &format!("name={name}")]);
        let rows = rows.map_err(|error| error.to_string())?;
        if rows.is_empty() { Err(chassis.log()) } else { Ok(()) }
    })
    .unwrap();
}

#[test]
fn a_chassis_joins_by_unix_tcp_and_tls() {
    let underlay = Underlay::new(1500).unwrap();
    let mut central = Central::new(Southbound::Standalone).unwrap();
    central.listen(&underlay, [192, 0, 2, 9].into(), 24).unwrap();
    let identity = central.pki().unwrap().identity("hv1").unwrap();
    for (name, remote, identity) in [
        ("by-unix", central.remote(), None),
        ("by-tcp", central.tcp_remote(), None),
        ("by-tls", central.ssl_remote(), Some(&identity)),
    ] {
        let mut chassis = chassis(&underlay, name, &remote, identity);
        await_row(&central, &chassis, name);
        let encaps = central.sb("--bare --columns=type,ip,options list Encap").unwrap();
        assert_eq!(
            encaps.split_whitespace().collect::<Vec<_>>(),
            ["geneve", "192.0.2.1", "csum=true"]
        );
        central.nbctl(&["--wait=hv", "sync"]).unwrap();
        chassis.leave().unwrap();
        assert_eq!(central.sb("--bare --columns=name list Chassis").unwrap().trim(), "");
        assert_eq!(central.sb("--bare --columns=name list Chassis_Private").unwrap().trim(), "");
    }
}

/// CH-6: what a daemon that comes back at once leaves behind is what it finds.
#[test]
fn a_chassis_that_leaves_for_a_restart_keeps_its_rows_and_ports() {
    let binary = Path::new(env!("CARGO_BIN_EXE_ovn-xdp"));
    let mut mixed = Mixed::start(binary, LabOptions::default()).unwrap();
    let rows = |mixed: &Mixed| {
        let chassis = mixed.central.sb("--columns=_uuid,encaps find Chassis name=hv1");
        let private = mixed.central.sb("--columns=_uuid find Chassis_Private name=hv1");
        let port = mixed.central.sb("--columns=chassis,up find Port_Binding logical_port=vm1-red");
        [chassis, private, port].map(Result::unwrap)
    };
    let before = rows(&mixed);
    mixed.hv1.leave_for_a_restart().unwrap();
    assert_eq!(rows(&mixed), before);
    mixed.hv1.start().unwrap();
    mixed.central.sync_chassis().unwrap();
    assert_eq!(rows(&mixed), before);
    reaches(&mixed);
}

/// CH-8: the stock chassis follows, and so does what it sends.
#[test]
fn another_tunnel_address_is_taken_up_while_the_chassis_runs() {
    let binary = Path::new(env!("CARGO_BIN_EXE_ovn-xdp"));
    let mut mixed = Mixed::start(binary, LabOptions::default()).unwrap();
    reaches(&mixed);
    let link = Underlay::LINK;
    mixed.hv1.namespace().ip(&format!("address add 192.0.2.11/24 dev {link}")).unwrap();
    mixed.hv1.reconfigure("192.0.2.1", "192.0.2.11").unwrap();
    wait::until("the Encap of the other address", PATIENCE, || {
        let encaps = mixed.central.sb("--bare --columns=ip find Encap chassis_name=hv1");
        match encaps.map_err(|error| format!("{error:#}"))?.trim() {
            "192.0.2.11" => Ok(()),
            other => Err(other.to_owned()),
        }
    })
    .unwrap();
    mixed.hv1.namespace().ip(&format!("address del 192.0.2.1/24 dev {link}")).unwrap();
    mixed.hv1.namespace().ip(&format!("address replace 192.0.2.11/24 dev {link}")).unwrap();
    mixed.central.sync_chassis().unwrap();
    reaches(&mixed);
}

/// A container of ours and one of the stock chassis reach each other, both ways.
fn reaches(mixed: &Mixed) {
    for (from, to) in [("vm1-red", "vm2-red"), ("vm2-red", "vm1-red")] {
        let target = mixed.workload(to).addresses().v4.into();
        let from = mixed.workload(from).namespace();
        wait::until("the far container to answer", PATIENCE, || {
            let pings = traffic::ping(from, target, 1, Duration::from_millis(500));
            match pings.map_err(|error| format!("{error:#}"))?.received {
                1 => Ok(()),
                _ => Err(format!("{:#}", mixed.hv1.show().unwrap_or_default()["tunnels"])),
            }
        })
        .unwrap();
    }
}

#[test]
fn a_server_whose_certificate_another_authority_signed_is_not_trusted() {
    let underlay = Underlay::new(1500).unwrap();
    let mut central = Central::new(Southbound::Standalone).unwrap();
    central.listen(&underlay, [192, 0, 2, 9].into(), 24).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let other = ovn_xdp_kit::pki::Pki::new(elsewhere.path()).unwrap();
    let mixed = Identity {
        ca_cert: other.identity("x").unwrap().ca_cert,
        ..central.pki().unwrap().identity("hv1").unwrap()
    };
    let chassis = chassis(&underlay, "hv1", &central.ssl_remote(), Some(&mixed));
    wait::until("the connection to be refused by us", PATIENCE, || {
        let show = chassis.show().map_err(|error| format!("{error:#}"))?;
        match show.pointer("/southbound/last_error").and_then(|error| error.as_str()) {
            Some(error) if error.to_lowercase().contains("certificate") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .unwrap();
    assert_eq!(central.sb("--bare --columns=name list Chassis").unwrap().trim(), "");
}

#[test]
fn every_flag_that_northd_reads_is_advertised() {
    let underlay = Underlay::new(1500).unwrap();
    let central = Central::new(Southbound::Standalone).unwrap();
    let chassis = chassis(&underlay, "hv1", &central.remote(), None);
    await_row(&central, &chassis, "hv1");
    let config = central.sb("get Chassis hv1 other_config").unwrap();
    for flag in [
        "port-up-notif",
        "ct-no-masked-label",
        "ovn-ct-lb-related",
        "mac-binding-timestamp",
        "fdb-timestamp",
        "ls-dpg-column",
        "ct-commit-nat-v2",
        "ct-commit-to-zone",
        "ovn-sample-with-registers",
        "ct-next-zone",
        "ct-label-flush",
        "ct-state-save",
    ] {
        assert!(config.contains(&format!("{flag}=\"true\"")), "{flag} is not in {config}");
    }
}
