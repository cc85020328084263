//! Text of actions: nothing panics, and what is printed reads back as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ovn_xdp_datapath::program::Pipeline;
use ovn_xdp_logical::action::{OptionTable, Parameters, Position, parse_actions};
use ovn_xdp_logical::symbol::Symbols;
use std::sync::LazyLock;

static DHCP: LazyLock<OptionTable> = LazyLock::new(|| {
    OptionTable::new([
        ("offerip", 0, "ipv4"),
        ("router", 3, "ipv4"),
        ("hostname", 12, "str"),
        ("ip_forward_enable", 19, "bool"),
        ("default_ttl", 23, "uint8"),
        ("mtu", 26, "uint16"),
        ("lease_time", 51, "uint32"),
        ("tftp_server", 66, "host_id"),
        ("domain_search_list", 119, "domains"),
        ("classless_static_route", 121, "static_routes"),
    ])
});

static DHCPV6: LazyLock<OptionTable> = LazyLock::new(|| {
    OptionTable::new([
        ("server_id", 2, "mac"),
        ("ia_addr", 5, "ipv6"),
        ("domain_search", 24, "str"),
        ("fqdn", 39, "domain"),
    ])
});

fuzz_target!(|text: &str| {
    let parameters = Parameters {
        symbols: Symbols::flow(),
        position: Position::new(Pipeline::Ingress, 10),
        dhcp_options: &DHCP,
        dhcpv6_options: &DHCPV6,
    };
    match parse_actions(text, &parameters) {
        Ok(actions) => {
            let printed = actions.to_string();
            // OVN reads `fwd_group;` and prints what it does not read.
            if printed.contains("fwd_group(") {
                return;
            }
            match parse_actions(&printed, &parameters) {
                Ok(again) => assert_eq!(printed, again.to_string(), "{text}"),
                Err(error) => panic!("{text}\n{printed}\n{error}"),
            }
        }
        Err(error) => assert!(error.offset <= text.len(), "{error}"),
    }
});
