//! Why a completion ring cannot be had.

use std::error::Error;
use std::fmt;
use std::io;

/// Why this process cannot have a [`RingDriver`](crate::DriverKind::Ring): for the log line of a
/// server that falls back to readiness.
#[derive(Debug)]
pub struct RingUnavailable {
    reason: RingReason,
    source: Option<io::Error>,
}

/// The kinds of reasons why there is no completion ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RingReason {
    /// This system is not Linux.
    NotLinux,
    /// The kernel has no io_uring at all: older than 5.1, built without it, or hidden by a sandbox
    /// (ENOSYS).
    NoSystemCall,
    /// The kernel's io_uring lacks something that this driver cannot do without. All of it is there
    /// from Linux 6.1 on.
    TooOld {
        /// What it lacks.
        missing: &'static str,
    },
    /// A seccomp filter or `kernel.io_uring_disabled` forbids it (EPERM, EACCES).
    Forbidden,
    /// The limit on locked memory is used up, or the system's memory is (ENOMEM).
    Memory,
    /// The process or the system is out of descriptors (EMFILE, ENFILE).
    Descriptors,
    /// The system said something else.
    Other,
}

impl RingUnavailable {
    /// What kind of reason it is.
    #[must_use]
    pub fn reason(&self) -> RingReason {
        self.reason
    }

    /// The answer on a system without io_uring.
    #[must_use]
    pub fn not_linux() -> Self {
        Self { reason: RingReason::NotLinux, source: None }
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn too_old(missing: &'static str) -> Self {
        Self { reason: RingReason::TooOld { missing }, source: None }
    }

    /// Sorts what a call answered; `step` is what is missing if it says that it does not know it.
    #[cfg(target_os = "linux")]
    pub(crate) fn at(step: &'static str, error: io::Error) -> Self {
        let reason = match error.raw_os_error() {
            Some(libc::ENOSYS) => RingReason::NoSystemCall,
            Some(libc::EINVAL | libc::EOPNOTSUPP) => RingReason::TooOld { missing: step },
            Some(libc::EPERM | libc::EACCES) => RingReason::Forbidden,
            Some(libc::ENOMEM) => RingReason::Memory,
            Some(libc::EMFILE | libc::ENFILE) => RingReason::Descriptors,
            _ => RingReason::Other,
        };
        Self { reason, source: Some(error) }
    }
}

impl fmt::Display for RingUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no io_uring: {}", self.reason)?;
        match &self.source {
            Some(error) => write!(f, " ({error})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for RingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLinux => f.write_str("only Linux has it"),
            Self::NoSystemCall => {
                f.write_str("this kernel does not have it, or a sandbox hides it")
            }
            Self::TooOld { missing } => {
                write!(f, "this kernel's lacks {missing}; Linux 6.1 and later have it")
            }
            Self::Forbidden => {
                f.write_str("forbidden by a seccomp filter or by kernel.io_uring_disabled")
            }
            Self::Memory => {
                f.write_str("no memory that may be locked; see the limit RLIMIT_MEMLOCK")
            }
            Self::Descriptors => f.write_str("out of descriptors; see the limit RLIMIT_NOFILE"),
            Self::Other => f.write_str("the system refuses it"),
        }
    }
}

impl Error for RingUnavailable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}

impl From<RingUnavailable> for io::Error {
    fn from(unavailable: RingUnavailable) -> Self {
        let kind = match &unavailable.source {
            Some(error) => error.kind(),
            None => io::ErrorKind::Unsupported,
        };
        Self::new(kind, unavailable)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn every_error_of_the_system_has_its_reason() {
        let reason = |code| {
            RingUnavailable::at("deferred task work", io::Error::from_raw_os_error(code)).reason()
        };
        assert_eq!(reason(libc::ENOSYS), RingReason::NoSystemCall);
        assert_eq!(reason(libc::EINVAL), RingReason::TooOld { missing: "deferred task work" });
        assert_eq!(reason(libc::EPERM), RingReason::Forbidden);
        assert_eq!(reason(libc::ENOMEM), RingReason::Memory);
        assert_eq!(reason(libc::EMFILE), RingReason::Descriptors);
        assert_eq!(reason(libc::EIO), RingReason::Other);
    }

    #[test]
    fn the_message_names_reason_and_answer() {
        let forbidden = RingUnavailable::at("x", io::Error::from_raw_os_error(libc::EPERM));
        assert_eq!(
            forbidden.to_string(),
            "no io_uring: forbidden by a seccomp filter or by kernel.io_uring_disabled \
             (Operation not permitted (os error 1))"
        );
        assert_eq!(io::Error::from(forbidden).kind(), io::ErrorKind::PermissionDenied);
        let old = RingUnavailable::too_old("deferred task work").to_string();
        assert!(old.contains("lacks deferred task work; Linux 6.1"), "{old}");
    }
}
