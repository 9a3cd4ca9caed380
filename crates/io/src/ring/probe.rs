//! Makes the ring, and finds out what this kernel's can do.

use crate::RingUnavailable;
use io_uring::{IoUring, Probe, opcode};
use std::io;

/// How many entries the queues that are shared with the kernel have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Submissions that one enter carries. More are no fault: they go in with an enter of their
    /// own.
    pub(super) submissions: u32,
    /// Completions. The kernel keeps what does not fit, at a price.
    pub(super) completions: u32,
}

impl Sizes {
    pub(super) const USUAL: Self = Self { submissions: 256, completions: 4096 };
}

/// What this driver uses beyond what every ring that it accepts has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Features {
    /// A buffer is used up piece by piece (`IOU_PBUF_RING_INC`).
    pub(super) incremental: bool,
    /// A receive that goes on can be told after how many bytes to end (`optlen`).
    pub(super) limited: bool,
}

impl Features {
    /// What the oldest ring that is accepted has.
    pub(super) const NONE: Self = Self { incremental: false, limited: false };

    /// What the running kernel's has.
    pub(super) fn of_kernel() -> Self {
        let release = kernel_release();
        Self { incremental: release >= INCREMENTAL_SINCE, limited: release >= LIMITED_SINCE }
    }
}

/// Linux 6.12 has incremental buffers. Until 6.16 completions of different sockets could change
/// places on their way ("io_uring: ensure deferred completions are flushed for multishot"), and with
/// incremental buffers the place of a completion says where its bytes stand.
const INCREMENTAL_SINCE: (u32, u32) = (6, 16);
/// Receives that go on have had a limit since Linux 6.17.
const LIMITED_SINCE: (u32, u32) = (6, 17);

/// A ring that is still disabled: the thread that enables it is the one it belongs to.
pub(super) fn open(sizes: Sizes) -> Result<IoUring, RingUnavailable> {
    let ring = IoUring::builder()
        .setup_clamp()
        .setup_cqsize(sizes.completions)
        .setup_submit_all()
        .setup_coop_taskrun()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_r_disabled()
        .build(sizes.submissions)
        .map_err(|error| {
            RingUnavailable::at("deferred task work (IORING_SETUP_DEFER_TASKRUN)", error)
        })?;
    check(&ring)?;
    Ok(ring)
}

fn check(ring: &IoUring) -> Result<(), RingUnavailable> {
    let parameters = ring.params();
    for (there, missing) in [
        (parameters.is_feature_nodrop(), "kept completions (IORING_FEAT_NODROP)"),
        (parameters.is_feature_submit_stable(), "stable submissions (IORING_FEAT_SUBMIT_STABLE)"),
        (parameters.is_feature_ext_arg(), "waits with a limit (IORING_FEAT_EXT_ARG)"),
        (parameters.is_feature_skip_cqe_on_success(), "silent success (IORING_FEAT_CQE_SKIP)"),
    ] {
        if !there {
            return Err(RingUnavailable::too_old(missing));
        }
    }
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|error| RingUnavailable::at("the probe (IORING_REGISTER_PROBE)", error))?;
    for (code, missing) in [
        (opcode::AcceptMulti::CODE, "IORING_OP_ACCEPT"),
        (opcode::Connect::CODE, "IORING_OP_CONNECT"),
        (opcode::RecvMulti::CODE, "IORING_OP_RECV"),
        (opcode::RecvMsgMulti::CODE, "IORING_OP_RECVMSG"),
        (opcode::Send::CODE, "IORING_OP_SEND"),
        (opcode::SendMsg::CODE, "IORING_OP_SENDMSG"),
        (opcode::Nop::CODE, "IORING_OP_NOP"),
        (opcode::PollAdd::CODE, "IORING_OP_POLL_ADD"),
        (opcode::AsyncCancel::CODE, "IORING_OP_ASYNC_CANCEL"),
    ] {
        if !probe.is_supported(code) {
            return Err(RingUnavailable::too_old(missing));
        }
    }
    Ok(())
}

/// Major and minor number of the running kernel, (0, 0) if it does not tell.
fn kernel_release() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    parse_release(&release)
}

fn parse_release(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => (0, 0),
    }
}

/// Makes the calling thread the one that the ring belongs to.
pub(super) fn enable(ring: &IoUring) -> io::Result<()> {
    ring.submitter().register_enable_rings()
}

#[cfg(test)]
mod tests {
    use super::parse_release;

    #[test]
    fn releases_are_read_and_compared_as_numbers() {
        assert_eq!(parse_release("6.18.44-fc-v657\n"), (6, 18));
        assert_eq!(parse_release("5.4\n"), (5, 4));
        assert_eq!(parse_release("six\n"), (0, 0));
        assert_eq!(parse_release(""), (0, 0));
        assert!(parse_release("6.9.1") < parse_release("6.16.0"));
    }
}
