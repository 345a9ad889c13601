//! Finds a toolchain that can compile the eBPF program, and compiles it so that the folder leaves no trace in the object.
//!
//! Two kinds of compiler will do: a rustup nightly with the component `rust-src`, or Debian's
//! `rustc-web` with `rust-web-src`. Either needs `bpf-linker`, linked to an LLVM that reads the
//! compiler's bitcode. The build script of `dispatcher-user` and `cargo xtask` share this crate, so
//! that they never disagree about what is missing.
#![forbid(unsafe_code)]

mod compile;
mod compiler;
mod environment;
mod linker;
mod missing;
mod places;
mod script;

pub use compile::{BuildError, BuildRequest, BuiltObject};
pub use compiler::{Compiler, Kind};
pub use linker::Linker;
pub use missing::Missing;
pub use places::Places;
pub use script::Embedded;

use std::{collections::BTreeSet, path::PathBuf};

/// A compiler and a linker that work together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// The compiler, with the library source that belongs to it.
    pub compiler: Compiler,
    /// The linker, able to read that compiler's bitcode.
    pub linker: Linker,
}

impl Toolchain {
    /// Looks for a toolchain where this process would look for programs.
    ///
    /// # Errors
    /// What is absent, with the command that installs it.
    pub fn find() -> Result<Self, Missing> {
        Self::find_in(&Places::from_env())
    }

    /// Looks for a toolchain in the given places.
    ///
    /// # Errors
    /// As [`Toolchain::find`].
    pub fn find_in(places: &Places) -> Result<Self, Missing> {
        let (compilers, unfit) = compiler::find_all(places);
        let linker = linker::find(places);
        let missing_compiler = if compilers.is_empty() { unfit } else { Vec::new() };
        let Some(linker) = linker else {
            return Err(Missing { compiler: missing_compiler, linker: Some(linker::ABSENT.to_owned()) });
        };
        let Some(first) = compilers.first() else {
            return Err(Missing { compiler: missing_compiler, linker: None });
        };
        match compilers.iter().find(|compiler| linker.reads_bitcode_of(compiler)) {
            Some(compiler) => Ok(Self { compiler: compiler.clone(), linker }),
            None => Err(Missing { compiler: Vec::new(), linker: Some(linker.too_old_for(first)) }),
        }
    }

    /// The folders of the toolchain itself whose names a compiler would write into an object.
    fn source_folders(&self) -> BTreeSet<PathBuf> {
        let named = self.compiler.library_source.clone();
        // Debian's source is reached through a link, and rustc writes both names.
        let real = named.canonicalize().unwrap_or_else(|_| named.clone());
        BTreeSet::from([named, real])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::PermissionsExt as _,
        path::Path,
        process,
        sync::{
            Mutex, MutexGuard, PoisonError,
            atomic::{AtomicU32, Ordering},
        },
    };

    /// One test at a time: a program that is still open for writing in a child another test just
    /// forked cannot be executed (ETXTBSY).
    static ALONE: Mutex<()> = Mutex::new(());

    /// A folder that goes away with the test.
    struct Folder(PathBuf, #[expect(dead_code, reason = "held, not read")] MutexGuard<'static, ()>);

    impl Folder {
        fn create() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name = format!("toolchain-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path, ALONE.lock().unwrap_or_else(PoisonError::into_inner))
        }

        fn program(&self, name: &str, content: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        }

        /// A stand-in for rustc of the given release and LLVM, with or without library source.
        fn compiler(&self, folder: &str, release: &str, llvm: &str, with_source: bool) -> PathBuf {
            let sysroot = self.0.join(folder);
            if with_source {
                let source = sysroot.join("lib/rustlib/src/rust/library/core/src");
                fs::create_dir_all(&source).unwrap();
                fs::write(source.join("lib.rs"), "").unwrap();
            }
            let answer = format!(
                "#!/bin/sh\ncase $1 in -vV) echo 'release: {release}'; echo 'LLVM version: {llvm}' ;; *) echo {} ;; esac\n",
                sysroot.display()
            );
            self.program(&format!("{folder}/bin/rustc"), &answer)
        }

        fn rustup(&self, toolchain: &str, rustc: &Path) {
            let answer = format!(
                "#!/bin/sh\ncase $1 in toolchain) echo 'stable (active)'; echo {toolchain} ;; which) echo {} ;; esac\n",
                rustc.display()
            );
            self.program("bin/rustup", &answer);
        }

        fn linker(&self, llvm_library: &str) -> PathBuf {
            self.program("bin/bpf-linker", &format!("#!/bin/sh\necho bpf-linker 0.13.0\n# {llvm_library}\n"))
        }

        fn places(&self) -> Places {
            Places {
                path: vec![self.0.join("bin")],
                cargo_home: self.0.join("cargo"),
                debian_rustc: self.0.join("usr/bin/rustc"),
            }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _removed = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn an_empty_machine_lacks_a_compiler_and_a_linker() {
        let folder = Folder::create();
        let missing = Toolchain::find_in(&folder.places()).unwrap_err();
        assert!(!missing.compiler.is_empty());
        assert!(missing.linker.is_some());
        let sentence = missing.to_string();
        assert!(sentence.ends_with("run `cargo xtask setup`."), "{sentence}");
        assert_eq!(sentence.lines().count(), 1, "{sentence}");
    }

    #[test]
    fn a_nightly_with_source_comes_before_debians_compiler() {
        let folder = Folder::create();
        folder.linker("libLLVM.so.22.1");
        let debian = folder.compiler("usr", "1.96.0", "22.1.8", true);
        let found = Toolchain::find_in(&folder.places()).unwrap();
        assert_eq!((found.compiler.kind, found.compiler.rustc), (Kind::Debian, debian));

        let nightly = folder.compiler("nightly", "1.97.0-nightly", "22.1.4", true);
        folder.rustup("nightly-x86_64-unknown-linux-gnu", &nightly);
        let found = Toolchain::find_in(&folder.places()).unwrap();
        assert_eq!((found.compiler.kind, found.compiler.rustc), (Kind::Nightly, nightly));
    }

    #[test]
    fn a_compiler_without_its_source_or_too_old_is_named_as_unfit() {
        let folder = Folder::create();
        folder.linker("libLLVM.so.22.1");
        let nightly = folder.compiler("nightly", "1.97.0-nightly", "22.1.4", false);
        folder.rustup("nightly-x86_64-unknown-linux-gnu", &nightly);
        folder.compiler("usr", "1.63.0", "14.0.6", true);
        let missing = Toolchain::find_in(&folder.places()).unwrap_err();
        let sentence = missing.to_string();
        assert!(sentence.contains("nightly-x86_64-unknown-linux-gnu lacks the component rust-src"), "{sentence}");
        assert!(sentence.contains("1.63.0"), "{sentence}");
        assert_eq!(missing.linker, None);
    }

    #[test]
    fn a_linker_of_an_older_llvm_does_not_fit_but_another_compiler_may() {
        let folder = Folder::create();
        folder.linker("libLLVM.so.22.1");
        let nightly = folder.compiler("nightly", "1.99.0-nightly", "23.1.0", true);
        folder.rustup("nightly-x86_64-unknown-linux-gnu", &nightly);
        let missing = Toolchain::find_in(&folder.places()).unwrap_err();
        let sentence = missing.linker.unwrap();
        assert!(sentence.contains("LLVM 22") && sentence.contains("LLVM 23"), "{sentence}");

        folder.compiler("usr", "1.96.0", "22.1.8", true);
        assert_eq!(Toolchain::find_in(&folder.places()).unwrap().compiler.kind, Kind::Debian);
    }

    #[test]
    fn a_linker_in_cargo_home_is_found_when_path_has_none() {
        let folder = Folder::create();
        folder.compiler("usr", "1.96.0", "22.1.8", true);
        let linker = folder.program("cargo/bin/bpf-linker", "statically linked");
        let found = Toolchain::find_in(&folder.places()).unwrap();
        assert_eq!(found.linker, Linker { program: linker, llvm_major: None });
    }
}
