//! The feature flags of `Chassis.other_config` (FF-*).
//!
//! northd takes the AND of each flag over all chassis: one that we leave out changes the flows of
//! the whole cluster (TRAP-2). So every flag that any supported northd reads is there, also those
//! that newer ones take for granted.

/// Flags of all supported versions of northd.
pub const FLAGS: [&str; 12] = [
    // 23.03 only.
    "port-up-notif",
    "ct-no-masked-label",
    "ovn-ct-lb-related",
    // 23.03 and later.
    "mac-binding-timestamp",
    "fdb-timestamp",
    "ls-dpg-column",
    "ct-commit-nat-v2",
    "ct-commit-to-zone",
    "ovn-sample-with-registers",
    "ct-next-zone",
    "ct-label-flush",
    "ct-state-save",
];
