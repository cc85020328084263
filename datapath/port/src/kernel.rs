//! The oldest kernel that has what we need: Linux 6.6, for tcx.

use std::ffi::CStr;

const OLDEST: (u32, u32) = (6, 6);

/// The kernel is too old.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("Linux {0} is too old: ovn-xdp needs 6.6 or newer, for tcx; install a newer kernel")]
pub struct OldKernel(String);

/// Refuses a kernel that is too old.
pub(crate) fn check() -> Result<(), OldKernel> {
    // SAFETY: the kernel fills the structure with strings that end in zero.
    let release = unsafe {
        let mut name: libc::utsname = std::mem::zeroed();
        libc::uname(&mut name);
        CStr::from_ptr(name.release.as_ptr()).to_string_lossy().into_owned()
    };
    check_release(&release)
}

fn check_release(release: &str) -> Result<(), OldKernel> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < OLDEST { Err(OldKernel(release.into())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_before_tcx_gets_one_clear_line() {
        for release in ["6.6.0", "6.18.44-fc-v669", "7.0", "6.12.1+deb13"] {
            assert_eq!(check_release(release), Ok(()));
        }
        for release in ["6.5.13-generic", "5.15.0", "6", ""] {
            let error = check_release(release).unwrap_err().to_string();
            assert!(error.contains(release) && error.contains("6.6"), "{error}");
            assert_eq!(error.lines().count(), 1);
        }
    }
}
