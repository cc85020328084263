//! Functions of the packet and its connection that take no argument (ACT-50, ACT-56 to ACT-58,
//! ACT-60, ACT-62).

/// A function without arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Function {
    /// `chk_lb_hairpin()` (ACT-50)
    CheckLbHairpin,
    /// `chk_lb_hairpin_reply()` (ACT-50)
    CheckLbHairpinReply,
    /// `check_in_port_sec()` (ACT-56)
    CheckInPortSecurity,
    /// `check_out_port_sec()` (ACT-56)
    CheckOutPortSecurity,
    /// `chk_ecmp_nh()` (ACT-57)
    CheckEcmpNh,
    /// `chk_ecmp_nh_mac()` (ACT-57)
    CheckEcmpNhMac,
    /// `chk_lb_aff()` (ACT-58)
    CheckLbAffinity,
    /// `ct_nw_dst()` (ACT-60)
    CtNwDst,
    /// `ct_ip6_dst()` (ACT-60)
    CtIp6Dst,
    /// `ct_tp_dst()` (ACT-60)
    CtTpDst,
    /// `ct_proto()` (ACT-60)
    CtProto,
    /// `ct_state_save()` (ACT-62)
    CtStateSave,
}

impl Function {
    const ALL: [Self; 12] = [
        Self::CheckLbHairpin,
        Self::CheckLbHairpinReply,
        Self::CheckInPortSecurity,
        Self::CheckOutPortSecurity,
        Self::CheckEcmpNh,
        Self::CheckEcmpNhMac,
        Self::CheckLbAffinity,
        Self::CtNwDst,
        Self::CtIp6Dst,
        Self::CtTpDst,
        Self::CtProto,
        Self::CtStateSave,
    ];

    /// The function's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CheckLbHairpin => "chk_lb_hairpin",
            Self::CheckLbHairpinReply => "chk_lb_hairpin_reply",
            Self::CheckInPortSecurity => "check_in_port_sec",
            Self::CheckOutPortSecurity => "check_out_port_sec",
            Self::CheckEcmpNh => "chk_ecmp_nh",
            Self::CheckEcmpNhMac => "chk_ecmp_nh_mac",
            Self::CheckLbAffinity => "chk_lb_aff",
            Self::CtNwDst => "ct_nw_dst",
            Self::CtIp6Dst => "ct_ip6_dst",
            Self::CtTpDst => "ct_tp_dst",
            Self::CtProto => "ct_proto",
            Self::CtStateSave => "ct_state_save",
        }
    }

    /// Bits of the result (ACT-P3).
    pub const fn width(self) -> u32 {
        match self {
            Self::CtNwDst => 32,
            Self::CtIp6Dst => 128,
            Self::CtTpDst => 16,
            Self::CtProto | Self::CtStateSave => 8,
            _ => 1,
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.as_str() == name)
    }
}
