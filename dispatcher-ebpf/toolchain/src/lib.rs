//! Finds the toolchain that can build the eBPF object, and builds it reproducibly.
