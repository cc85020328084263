//! What the devices in use can do, found out at start, as one table.

use std::fmt;

/// What a device is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Workloads to user space.
    Trunk,
    /// The underlay.
    Nic,
}

/// One line of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceReport {
    /// Its name.
    pub device: String,
    /// What it is for.
    pub role: Role,
    /// Its driver.
    pub driver: String,
    /// Whether the driver runs XDP programs itself.
    pub native: bool,
    /// Queues that are served.
    pub queues: u32,
    /// Whether frames move without a copy, on all queues.
    pub zero_copy: bool,
    /// Its MTU in bytes; 0 if unknown.
    pub mtu: u32,
}

/// All devices in use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report(pub Vec<DeviceReport>);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<16} {:<6} {:<12} {:<8} {:>6} {:<9} {:>6}",
            "device", "role", "driver", "xdp", "queues", "zero-copy", "mtu"
        )?;
        for line in &self.0 {
            let role = match line.role {
                Role::Trunk => "trunk",
                Role::Nic => "nic",
            };
            let mode = if line.native { "native" } else { "generic" };
            let zero_copy = if line.zero_copy { "yes" } else { "no" };
            writeln!(
                f,
                "{:<16} {role:<6} {:<12} {mode:<8} {:>6} {zero_copy:<9} {:>6}",
                line.device, line.driver, line.queues, line.mtu
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_for_each_device_in_aligned_columns() {
        let nic = DeviceReport {
            device: "eth1".into(),
            role: Role::Nic,
            driver: "ice".into(),
            native: true,
            queues: 8,
            zero_copy: true,
            mtu: 1500,
        };
        let slow = DeviceReport { native: false, zero_copy: false, mtu: 9000, ..nic.clone() };
        assert_eq!(
            Report(vec![nic, slow]).to_string(),
            "device           role   driver       xdp      queues zero-copy    mtu\n\
             eth1             nic    ice          native        8 yes         1500\n\
             eth1             nic    ice          generic       8 no          9000\n"
        );
    }
}
