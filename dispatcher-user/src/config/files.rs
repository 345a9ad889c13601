//! The files that a configuration names: where they are, and what they are for.

mod check;

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use super::{
    document::{Faults, Placed, Section},
    problem::Problem,
};

pub(super) use self::check::FileProblem;

/// The files named so far.
pub(super) struct Files {
    /// The directory that relative paths start from; `None`: they are kept as they are.
    base: Option<PathBuf>,
    references: Vec<Reference>,
}

/// Files that belong together.
struct Reference {
    usage: FileUse,
    path: Placed<PathBuf>,
    /// Of a certificate: the file of its key.
    key: Option<Placed<PathBuf>>,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileUse {
    /// A certificate and what leads to its root, PEM.
    Certificate,
    /// Certificates of those who sign others, PEM.
    Authorities,
    /// An OCSP response, DER.
    Ocsp,
}

impl Files {
    /// Files of a configuration whose relative paths start from `base`.
    pub(super) fn new(base: Option<&Path>) -> Self {
        Self { base: base.map(Path::to_owned), references: Vec::new() }
    }

    /// Reads the path of a file.
    pub(super) fn read(
        &mut self,
        section: &Section<'_, '_>,
        key: &'static str,
        usage: FileUse,
        faults: &mut Faults,
    ) -> Option<Placed<PathBuf>> {
        let path = self.path(section, key, faults)?;
        self.references.push(Reference { usage, path: path.clone(), key: None });
        Some(path)
    }

    /// Reads the paths of a certificate and its key; a key without a file of its own is in the certificate's.
    pub(super) fn read_pair(
        &mut self,
        section: &Section<'_, '_>,
        certificate: &'static str,
        key: &'static str,
        faults: &mut Faults,
    ) -> Option<(PathBuf, Option<PathBuf>)> {
        let chain = self.path(section, certificate, faults);
        let key_file = self.path(section, key, faults);
        let Some(chain) = chain else {
            if let (Some(span), None) = (section.key_span(key), section.key_span(certificate)) {
                faults.add(&span, Problem::KeyAlone { key, certificate });
            }
            return None;
        };
        let key_of_pair = key_file.clone().unwrap_or_else(|| chain.clone());
        let usage = FileUse::Certificate;
        self.references.push(Reference { usage, path: chain.clone(), key: Some(key_of_pair) });
        Some((chain.value, key_file.map(|path| path.value)))
    }

    fn path(&self, section: &Section<'_, '_>, key: &'static str, faults: &mut Faults) -> Option<Placed<PathBuf>> {
        section.parsed(key, faults, |text| {
            let path = Path::new(text);
            if path.file_name().is_none() || text.contains('\0') {
                return Err(Problem::NoFile { key });
            }
            Ok(self.base.as_ref().map_or_else(|| path.to_owned(), |base| base.join(path)))
        })
    }

    /// Looks into every file, at the time `now_s` of the calendar, and tells what is wrong with them.
    pub(super) fn check(&self, now_s: i64) -> Vec<(Range<usize>, FileProblem)> {
        let mut problems = Vec::new();
        for Reference { usage, path, key } in &self.references {
            let found = match (usage, key) {
                (FileUse::Certificate, Some(key)) => check::pair(path, key, now_s),
                (FileUse::Authorities, _) => check::authorities(path, now_s),
                (FileUse::Certificate | FileUse::Ocsp, _) => check::ocsp(path),
            };
            problems.extend(found);
        }
        problems
    }
}
