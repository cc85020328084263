//! How a device gathers what it receives: the two settings of its NAPI that only sysfs has on every
//! kernel that we run on.

use std::io;
use std::time::Duration;

/// Lets `device`, of the calling thread's network namespace, hold received frames for up to `time`
/// while more arrive, so that GRO sees them together.
pub(crate) fn hold(device: &str, time: Duration) -> io::Result<()> {
    let settings =
        [("gro_flush_timeout", time.as_nanos().to_string()), ("napi_defer_hard_irqs", "1".into())];
    own_sysfs()?;
    for (setting, value) in settings {
        std::fs::write(format!("/sys/class/net/{device}/{setting}"), value)?;
    }
    Ok(())
}

/// Gives the calling thread, which must end soon, a sysfs of its network namespace: the one that is
/// mounted may show another.
fn own_sysfs() -> io::Result<()> {
    let check = |result| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    let none = std::ptr::null();
    // SAFETY: the mount namespace of this thread only; all strings end in zero.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWNS))?;
        let private = libc::MS_REC | libc::MS_PRIVATE;
        check(libc::mount(none, c"/".as_ptr(), none, private, none.cast()))?;
        let mounted = check(libc::mount(
            c"sysfs".as_ptr(),
            c"/sys".as_ptr(),
            c"sysfs".as_ptr(),
            libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC,
            none.cast(),
        ));
        match mounted {
            // It is there already, as on most hosts: what is mounted shows this very namespace.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(()),
            mounted => mounted,
        }
    }
}
