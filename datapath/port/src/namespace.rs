//! Network namespaces: the one that a daemon lives in, and one without a name for the trunk's far end.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// A network namespace, kept alive by this value.
#[derive(Debug)]
pub(crate) struct Namespace(File);

impl Namespace {
    /// The one of the calling thread.
    pub(crate) fn current() -> io::Result<Self> {
        File::open("/proc/thread-self/ns/net").map(Self)
    }

    /// A new one that nothing else refers to: it, and every device in it, ends with the value and
    /// also with the process, however that ends.
    pub(crate) fn anonymous() -> io::Result<Self> {
        on_thread(|| {
            // SAFETY: changes the namespace of this thread only, which ends here.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                return Err(io::Error::last_os_error());
            }
            Self::current()
        })
    }

    /// Runs `work` on a thread inside this namespace.
    pub(crate) fn run<T: Send, E: From<io::Error> + Send>(
        &self,
        work: impl FnOnce() -> Result<T, E> + Send,
    ) -> Result<T, E> {
        on_thread(|| {
            // SAFETY: changes the namespace of this thread only, which ends here.
            if unsafe { libc::setns(self.0.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
                return Err(io::Error::last_os_error().into());
            }
            work()
        })
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn on_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        scope.spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
