//! Compiles the packet bench's eBPF programs and hands their path to the code that embeds them.

use dispatcher_ebpf_toolchain::Embedded;
use std::process::ExitCode;

fn main() -> ExitCode {
    let object = Embedded {
        crate_folder: "tests/bench/ebpf",
        bin: "bench",
        variable: "BENCH_OBJECT",
        inputs: &["tests/bench/ebpf/Cargo.toml", "tests/bench/ebpf/Cargo.lock", "tests/bench/ebpf/src"],
    };
    object.build()
}
