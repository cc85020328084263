//! Whether this kernel can carry us, and which cores there are.

/// The oldest kernel that has tcx.
pub const OLDEST: (u32, u32) = (6, 6);

/// The kernel is too old, or does not say what it is.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KernelError {
    /// No tcx.
    #[error("this kernel is Linux {found}; ovn-xdp needs Linux 6.6 or newer, which has tcx")]
    TooOld {
        /// `/proc/sys/kernel/osrelease`.
        found: String,
    },
    /// Not to be read.
    #[error("the kernel does not say its version in /proc/sys/kernel/osrelease (found {found:?})")]
    Unknown {
        /// What is there.
        found: String,
    },
}

/// Checks the kernel that runs.
///
/// # Errors
/// If it is older than [`OLDEST`].
pub fn check() -> Result<(), KernelError> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    check_release(release.trim())
}

fn check_release(release: &str) -> Result<(), KernelError> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|number| number.parse::<u32>().ok());
    match (next(), next()) {
        (Some(major), Some(minor)) if (major, minor) >= OLDEST => Ok(()),
        (Some(_), Some(_)) => Err(KernelError::TooOld { found: release.to_owned() }),
        _ => Err(KernelError::Unknown { found: release.to_owned() }),
    }
}

/// Cores to pin `workers` to: those that were asked for, else the last ones, which the kernel
/// itself uses least. Repeats if there are fewer cores than workers.
pub fn cores(asked: &[u16], workers: u16) -> Vec<usize> {
    let present: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
    choose(asked, &present, workers)
}

fn choose(asked: &[u16], present: &[usize], workers: u16) -> Vec<usize> {
    let pool: Vec<usize> = if asked.is_empty() {
        present.iter().rev().copied().collect()
    } else {
        asked.iter().map(|core| usize::from(*core)).collect()
    };
    pool.iter().copied().cycle().take(usize::from(workers)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernel_gets_one_clear_line() {
        for release in ["6.6.0", "6.6.51+rpt", "6.18.5", "7.0", "10.1-rc2"] {
            assert_eq!(check_release(release), Ok(()), "{release}");
        }
        let error = check_release("6.1.0-37-amd64").unwrap_err().to_string();
        assert!(error.contains("6.1.0-37-amd64") && error.contains("6.6"), "{error}");
        assert!(!error.contains('\n'));
        assert!(check_release("").is_err());
    }

    #[test]
    fn workers_take_the_cores_asked_for_or_the_last_ones() {
        assert_eq!(choose(&[3, 1], &[0, 1, 2, 3], 2), [3, 1]);
        assert_eq!(choose(&[], &[0, 1, 2, 3], 2), [3, 2]);
        assert_eq!(choose(&[], &[0], 2), [0, 0]);
    }
}
