//! The daemon and the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    dispatcher_user::cli::main()
}
