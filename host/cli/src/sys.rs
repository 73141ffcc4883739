//! The calls of the system that have no safe wrapper: who runs this process, a session of its own, and an end with its
//! parent. The only place of this crate where code is unsafe.

/// The user that this process acts as.
#[expect(unsafe_code, reason = "geteuid has no safe wrapper in std")]
pub(crate) fn user() -> u32 {
    // SAFETY: geteuid takes nothing, touches no memory and cannot fail.
    unsafe { libc::geteuid() }
}

/// Leaves the terminal's session, so that closing it ends nothing here. Does nothing for a leader of a group.
#[expect(unsafe_code, reason = "setsid has no safe wrapper in std")]
pub(crate) fn leave_session() {
    // SAFETY: setsid takes nothing and touches no memory; it fails only for a leader of a group, which is no harm here.
    unsafe { libc::setsid() };
}

/// Has the system send SIGTERM to this process when the thread that started it ends, however that ends.
#[expect(unsafe_code, reason = "prctl has no safe wrapper in std")]
pub(crate) fn end_with_parent() -> std::io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes the number of a signal and touches no memory of this process.
    let done = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM as libc::c_ulong) };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
