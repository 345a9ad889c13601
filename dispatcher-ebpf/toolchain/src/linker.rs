//! Finds bpf-linker and tells which LLVM it is linked to.

use crate::{Compiler, Places};
use std::{fs, path::PathBuf};

pub(crate) const ABSENT: &str = "bpf-linker is neither in PATH nor in cargo's bin folder";

/// A bpf-linker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linker {
    /// The program.
    pub program: PathBuf,
    /// The major version of the LLVM library it loads; none where it has LLVM built in.
    pub llvm_major: Option<u32>,
}

impl Linker {
    /// LLVM reads the bitcode of its own and of earlier versions, never of later ones
    /// (LLVM Developer Policy, "IR Backwards Compatibility").
    pub(crate) fn reads_bitcode_of(&self, compiler: &Compiler) -> bool {
        match (self.llvm_major, compiler.llvm_major) {
            (Some(linker), Some(compiler)) => linker >= compiler,
            (None, _) | (_, None) => true,
        }
    }

    pub(crate) fn too_old_for(&self, compiler: &Compiler) -> String {
        let major = |version: Option<u32>| version.map_or_else(|| "?".to_owned(), |major| major.to_string());
        format!(
            "{} is linked to LLVM {}, but {} has LLVM {}",
            self.program.display(),
            major(self.llvm_major),
            compiler.rustc.display(),
            major(compiler.llvm_major)
        )
    }
}

/// Finds the linker that a build would use.
pub(crate) fn find(places: &Places) -> Option<Linker> {
    let program = places.program("bpf-linker")?;
    let llvm_major = fs::read(&program).ok().and_then(|binary| llvm_library_major(&binary));
    Some(Linker { program, llvm_major })
}

/// The LLVM version in the name of the shared library that a binary asks its loader for.
/// `bpf-linker --version` does not tell it.
fn llvm_library_major(binary: &[u8]) -> Option<u32> {
    const NAMES: [&[u8]; 2] = [b"libLLVM.so.", b"libLLVM-"];
    NAMES.iter().find_map(|name| {
        let start = binary.windows(name.len()).position(|window| window == *name)? + name.len();
        let digits: String = binary
            .get(start..)?
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .map(|&byte| char::from(byte))
            .collect();
        digits.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_llvm_version_is_read_from_the_library_name() {
        assert_eq!(llvm_library_major(b"\x7fELF\0libLLVM.so.22.1\0libc.so.6"), Some(22));
        assert_eq!(llvm_library_major(b"\x7fELF\0libLLVM-19.so\0"), Some(19));
        assert_eq!(llvm_library_major(b"\x7fELF\0libc.so.6\0"), None);
    }
}
