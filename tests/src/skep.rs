//! The binary `skep` once more, built with the tests so that they never run an old one. Never handed to users.

fn main() -> std::process::ExitCode {
    skep::command::run()
}
