//! A test that needs a process of its own starts this test binary again, as the child that does one thing.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

type Role = (&'static str, fn(&Path));

/// What the child does, by name. Its lines on standard output start with `> `.
const ROLES: [Role; 7] = [
    ("write-for-ever", crate::crash::write_for_ever),
    ("open", crate::open::open_and_tell),
    ("meet-faults", crate::faults::meet_faults),
    ("fail-a-checkpoint", crate::faults::fail_a_checkpoint),
    ("fill-the-disk", crate::faults::fill_the_disk),
    ("count-syncs", crate::syncs::count_syncs),
    ("count-syncs-of-a-checkpoint", crate::syncs::count_syncs_of_a_checkpoint),
];

const ROLE: &str = "SKEP_STORE_TEST_ROLE";
const DIR: &str = "SKEP_STORE_TEST_DIR";

/// Not a test: where a child begins.
#[test]
fn child_entry() {
    let (Ok(role), Some(dir)) = (std::env::var(ROLE), std::env::var_os(DIR)) else { return };
    let (_, act) = ROLES.into_iter().find(|(name, _)| *name == role).expect("a known role");
    act(&PathBuf::from(dir));
}

/// One line from the child to its parent.
pub(crate) fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "> {line}").and_then(|()| out.flush()).expect("a parent that reads");
}

/// How to start a child.
pub(crate) fn command(role: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child::child_entry", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role).env(DIR, dir);
    command
}

/// A child that runs; it is killed if nobody waits for it.
pub(crate) struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next line that it tells; none when it has ended.
    pub(crate) fn next(&mut self) -> Option<String> {
        let mut line = String::new();
        while self.lines.read_line(&mut line).unwrap() > 0 {
            // The test harness writes the name of the test before the first one, on the same line.
            if let Some((_, told)) = line.split_once("> ") {
                return Some(told.trim_end().to_owned());
            }
            line.clear();
        }
        None
    }

    /// Everything it tells until it ends, which must be well.
    pub(crate) fn rest(mut self) -> Vec<String> {
        let lines = std::iter::from_fn(|| self.next()).collect();
        let ended = self.child.wait().unwrap();
        assert!(ended.success(), "the child ended with {ended} after {lines:?}");
        lines
    }

    /// SIGKILL. What it told before can still be read.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
