//! ACLs, QoS, meters.

use super::{Feature, Network};
use crate::dice::Dice;

impl Network {
    /// ACLs, QoS.
    pub(super) fn policy(&mut self, dice: &mut Dice) {
        if self.has(Feature::StatelessAcls) || self.has(Feature::StatefulAcls) {
            self.add(r#"create Address_Set name=as4 addresses='"10.0.1.1","10.0.2.0/24","172.16.0.200"'"#);
            self.add("pg-add pg1 s1p1 s2p1 -- pg-add pg2 s1p2 s2p1");
        }
        let stateful = self.has(Feature::StatefulAcls);
        if self.has(Feature::StatelessAcls) {
            self.acl(
                dice,
                "s1",
                "from-lport",
                1001,
                "ip4.src == $as4 && udp.dst == 81",
                &["drop", "allow"],
            );
            self.acl(
                dice,
                "pg1",
                "to-lport",
                1002,
                "outport == @pg1 && tcp.dst == {22, 81}",
                &["drop", "reject"],
            );
            self.acl(
                dice,
                "s2",
                "to-lport",
                1000,
                "ip6 && ip6.dst == fd00:2::2",
                &["allow", "drop"],
            );
        }
        if stateful {
            self.acl(
                dice,
                "s1",
                "from-lport",
                1003,
                "inport == @pg1 && ip4 && tcp",
                &["allow-related"],
            );
            self.acl(
                dice,
                "pg2",
                "to-lport",
                1004,
                "outport == @pg2 && ip && tcp.dst == 80",
                &["allow-related", "reject"],
            );
            self.acl(
                dice,
                "s2",
                "to-lport",
                1005,
                "ip4.src == $as4 && icmp4",
                &["reject", "allow-related", "drop"],
            );
            self.acl(
                dice,
                "s2",
                "from-lport",
                1006,
                "udp && udp.dst == 5353",
                &["reject", "allow-stateless"],
            );
            self.add(
                "--log --severity=alert --name=logged acl-add s1 to-lport 1010 'ip6 && tcp' reject",
            );
        }
        if self.has(Feature::Qos) {
            self.add("qos-add s1 from-lport 100 'ip4 && udp' dscp=48");
            self.add("qos-add s2 to-lport 101 'ip6' rate=1000 burst=100 dscp=10");
        }
        self.rejections();
        self.defaults(dice);
    }

    /// What is refused with an answer, of each protocol and both ways.
    fn rejections(&mut self) {
        if self.has(Feature::Rejects) {
            self.add("acl-add s1 from-lport 1020 'ip4 && tcp.dst == 443' reject");
            self.add("acl-add s1 from-lport 1021 'ip6 && udp.dst == 53' reject");
            self.add("acl-add s1 to-lport 1022 'ip && sctp' reject");
            self.add("acl-add s2 to-lport 1023 'ip6 && icmp6.type == 128' reject");
            self.add("acl-add s2 to-lport 1024 'ip4 && ip.proto == {47, 50}' reject");
            self.add("acl-add s2 from-lport 1025 'ip4.dst == 10.0.1.0/24 && tcp' reject");
        }
    }

    /// What holds where no rule says anything, options of rules, meters.
    fn defaults(&mut self, dice: &mut Dice) {
        if self.has(Feature::DenyByDefault) {
            self.add("set NB_Global . options:default_acl_drop=true");
            self.add("acl-add s1 to-lport 900 'ip4 && udp' allow");
            self.add("acl-add s2 from-lport 901 'ip4.src == 10.0.2.1' allow-related");
            if dice.percent(50) {
                self.add("set NB_Global . options:debug_drop_collector_set=7 options:debug_drop_domain_id=3");
            }
        }
        if self.has(Feature::AclOptions) {
            self.add("--fair meter-add meter1 drop 100 pktps 10");
            self.add("--log --severity=info --name=metered acl-add s2 from-lport 1030 'ip4 && tcp.dst == 80' allow-related");
            self.add("--id=@acl create ACL direction=from-lport priority=1031 action=allow-related match='\"ip4 && udp.dst == 53\"' label=1234");
            self.add("--id=@after create ACL direction=from-lport priority=1032 action=drop match='\"ip && tcp.dst == 8080\"' options:apply-after-lb=true");
            self.add("--id=@logged create ACL direction=to-lport priority=1033 action=drop match='\"ip4 && tcp.dst == 22\"' log=true meter=meter1 name=logged severity=warning");
            self.add("add Logical_Switch s1 acls @acl @after @logged");
            self.add("copp-add copp1 arp meter1 -- copp-add copp1 icmp4-error meter1 -- copp-add copp1 reject meter1");
            self.add("ls-copp-add copp1 s1 -- lr-copp-add copp1 r0");
        }
    }

    fn acl(
        &mut self,
        dice: &mut Dice,
        on: &str,
        way: &str,
        priority: u16,
        matching: &str,
        verdicts: &[&str],
    ) {
        let verdict = dice.of(verdicts);
        self.add(&format!("acl-add {on} {way} {priority} '{matching}' {verdict}"));
    }
}
