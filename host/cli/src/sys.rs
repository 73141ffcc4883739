//! The two calls of the system that have no safe wrapper: who runs this process, and a session of its own. The only
//! place of this crate where code is unsafe.

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
