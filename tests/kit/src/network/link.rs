//! How routers and switches hang together beyond the common: routers side by side, a transit switch
//! to another zone, several networks on a port.

use super::{End, Feature, Network};

/// The number of the transit switch.
const TRANSIT: usize = 13;

impl Network {
    /// Links of routers.
    pub(super) fn links(&mut self) {
        if self.has(Feature::LinkedRouters) {
            self.add(
                "lr-add r9 -- lrp-add r0 r0-r9 02:00:00:00:f7:01 10.9.0.1/30 fd09::1/64 peer=r9-r0",
            );
            self.add("lrp-add r9 r9-r0 02:00:00:00:f7:02 10.9.0.2/30 fd09::2/64 peer=r0-r9");
            self.add(
                "ls-add far -- lrp-add r9 r9-far 02:00:00:00:f7:03 10.90.0.254/24 fd90::fe/64",
            );
            self.patch("far", "far-r9", "r9-far");
            self.add(
                "lsp-add far far1 -- lsp-set-addresses far1 '02:00:00:00:09:05 10.90.0.5 fd90::5'",
            );
            self.add("lr-route-add r0 10.90.0.0/24 10.9.0.2 -- lr-route-add r0 fd90::/64 fd09::2");
            self.add("lr-route-add r9 0.0.0.0/0 10.9.0.1 -- lr-route-add r9 ::/0 fd09::1");
            self.push_end("far1", 14, "02:00:00:00:09:05", "10.90.0.5", "fd90::5");
            self.push_router("far-r9", 14, "02:00:00:00:f7:03", "10.90.0.254", "fd90::fe");
            self.push_router("r9-r0", 15, "02:00:00:00:f7:02", "10.9.0.2", "fd09::2");
        }
        if self.has(Feature::Transit) {
            self.add("ls-add ts -- set Logical_Switch ts other_config:interconn-ts=ts");
            self.add("lrp-add gw gw-ts 02:00:00:00:f6:01 169.254.100.1/24 fd66::1/64");
            self.patch("ts", "ts-gw", "gw-ts");
            self.add("lsp-add ts ts-away -- lsp-set-type ts-away remote");
            self.add("lsp-set-addresses ts-away '02:00:00:00:f6:02 169.254.100.2/24 fd66::2/64'");
            self.add(
                "lr-route-add gw 10.77.0.0/16 169.254.100.2 -- lr-route-add gw fd77::/16 fd66::2",
            );
            self.add(
                "lr-route-add r0 10.77.0.0/16 100.64.0.2 -- lr-route-add r0 fd77::/16 fd64::2",
            );
            self.push_end("ts-away", TRANSIT, "02:00:00:00:f6:02", "169.254.100.2", "fd66::2");
            self.push_router("ts-gw", TRANSIT, "02:00:00:00:f6:01", "169.254.100.1", "fd66::1");
            self.addresses4.push("10.77.1.1".into());
            self.addresses6.push("fd77::1".into());
        }
        if self.has(Feature::SeveralNetworks) {
            self.add("ls-add multi -- lrp-add r0 r0-multi 02:00:00:00:f5:01 10.50.0.254/24 10.51.0.254/24 fd50::fe/64 fd51::fe/64");
            self.patch("multi", "multi-r0", "r0-multi");
            self.add("lsp-add multi multi1 -- lsp-set-addresses multi1 '02:00:00:00:05:01 10.50.0.1 10.51.0.1 fd50::1 fd51::1'");
            self.add("lrp-add r0 r0-six 02:00:00:00:f5:02 fd52::fe/64 -- ls-add six");
            self.patch("six", "six-r0", "r0-six");
            self.add("lsp-add six six1 -- lsp-set-addresses six1 '02:00:00:00:05:02 fd52::2'");
            self.add("lrp-add r0 r0-off 02:00:00:00:f5:03 10.53.0.254/24 -- ls-add off");
            self.patch("off", "off-r0", "r0-off");
            self.add("lrp-set-enabled r0-off disabled");
            self.push_end("multi1", 16, "02:00:00:00:05:01", "10.51.0.1", "fd51::1");
            self.push_end("six1", 17, "02:00:00:00:05:02", "10.52.0.2", "fd52::2");
            self.push_router("multi-r0", 16, "02:00:00:00:f5:01", "10.51.0.254", "fd51::fe");
            self.push_router("six-r0", 17, "02:00:00:00:f5:02", "10.52.0.254", "fd52::fe");
            self.push_router("off-r0", 18, "02:00:00:00:f5:03", "10.53.0.254", "fd53::fe");
            self.addresses4.extend(["10.50.0.254".into(), "10.50.0.1".into(), "10.53.0.1".into()]);
            self.addresses6.extend(["fd50::fe".into(), "fd50::1".into()]);
        }
    }

    fn push_end(&mut self, name: &str, switch: usize, mac: &str, ip4: &str, ip6: &str) {
        self.ends.push(End::new(name, switch, mac, ip4, ip6));
    }

    fn push_router(&mut self, name: &str, switch: usize, mac: &str, ip4: &str, ip6: &str) {
        self.routers.push(End::new(name, switch, mac, ip4, ip6));
    }
}
