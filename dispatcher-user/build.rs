//! Compiles the eBPF program and hands its path to the code that embeds it.

use dispatcher_ebpf_toolchain::Embedded;
use std::process::ExitCode;

fn main() -> ExitCode {
    let object = Embedded {
        crate_folder: "dispatcher-ebpf",
        bin: "dispatcher",
        variable: "DISPATCHER_OBJECT",
        inputs: &[
            "Cargo.toml",
            "dispatcher-ebpf/Cargo.toml",
            "dispatcher-ebpf/Cargo.lock",
            "dispatcher-ebpf/src",
            "dispatcher-common/Cargo.toml",
            "dispatcher-common/src",
        ],
    };
    object.build()
}
