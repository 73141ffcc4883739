//! The binary `skep`. Never more than the call into the library.

fn main() -> std::process::ExitCode {
    skep::command::run()
}
