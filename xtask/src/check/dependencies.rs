//! Checks licences, sources and duplicate versions of all dependencies against deny.toml.
//!
//! cargo-deny does it where it is installed. Elsewhere the same file is read here, as far as it goes:
//! `licenses.allow`, `bans.multiple-versions` with `bans.skip`, `sources.unknown-registry` and
//! `sources.unknown-git`. What only cargo-deny can do (advisories, licence texts) is said to be left out.

use super::{licence, manifests, metadata};
use crate::{programs, workspace};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

/// The one place that crates may come from; cargo writes it so in every lock file.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(super) fn check() -> Result<()> {
    if programs::find("cargo-deny").is_some() {
        return manifests().try_for_each(|manifest| {
            let mut deny = workspace::cargo()?;
            deny.args(["deny", "--manifest-path", manifest, "check", "--config"]);
            workspace::must(deny.arg(workspace::root()?.join("deny.toml")).args(["licenses", "bans", "sources"]))
        });
    }
    eprintln!("check: cargo-deny is not installed; deny.toml is checked without it (no licence texts, no advisories)");
    let rules =
        Rules::read(&fs::read_to_string(workspace::root()?.join("deny.toml")).context("cannot read deny.toml")?)?;
    let mut complaints = Vec::new();
    for manifest in manifests() {
        let described = workspace::stdout_of(&mut metadata(manifest)?)?;
        let built = built(&workspace::stdout_of(&mut tree(manifest)?)?);
        let mut packages = packages(&described)?;
        packages.retain(|package| built.contains(&(package.name.clone(), package.version.clone())));
        complaints.extend(rules.complaints(&packages));
    }
    for complaint in &complaints {
        eprintln!("{complaint}");
    }
    if !complaints.is_empty() {
        bail!("{} dependencies are not as deny.toml wants them", complaints.len());
    }
    Ok(())
}

/// A crate that something here depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Package {
    name: String,
    version: String,
    licence: Option<String>,
    /// None for crates of this repository.
    source: Option<String>,
}

fn packages(described: &str) -> Result<Vec<Package>> {
    let described: Value = serde_json::from_str(described).context("cargo metadata is not JSON")?;
    let list = described.get("packages").and_then(Value::as_array).context("cargo metadata lists no packages")?;
    let text = |package: &Value, key: &str| package.get(key).and_then(Value::as_str).map(str::to_owned);
    let package = |package: &Value| Package {
        name: text(package, "name").unwrap_or_default(),
        version: text(package, "version").unwrap_or_default(),
        licence: text(package, "license"),
        source: text(package, "source"),
    };
    Ok(list.iter().map(package).collect())
}

/// The crates that are built for some target, one a line: `name vX.Y.Z …`.
fn tree(manifest: &str) -> Result<Command> {
    let mut command = workspace::cargo()?;
    command.args(["tree", "--locked", "--workspace", "--target", "all", "--edges", "normal,build,dev"]);
    command.args(["--prefix", "none", "--manifest-path", manifest]);
    Ok(command)
}

/// Names and versions of such lines. A lock file, and so cargo's description, names more: also what an optional
/// dependency would need that nobody asked for (rust-lang/cargo#10801).
fn built(tree: &str) -> BTreeSet<(String, String)> {
    let named = |line: &str| {
        let (name, version) = line.split_once(' ')?;
        let version = version.split(' ').next()?.strip_prefix('v')?;
        Some((name.to_owned(), version.to_owned()))
    };
    tree.lines().filter_map(named).collect()
}

/// What deny.toml says.
#[derive(Debug, Default)]
struct Rules {
    licences: Vec<String>,
    /// Crates that may be there in several versions; with a version, that one is not counted.
    skipped: Vec<String>,
    denies_duplicates: bool,
    denies_other_sources: bool,
}

impl Rules {
    fn read(text: &str) -> Result<Self> {
        let file: toml::Table = toml::from_str(text).context("deny.toml is not TOML")?;
        let value = |section: &str, key: &str| file.get(section).and_then(|section| section.get(key));
        let is_denied = |section: &str, key: &str| value(section, key).and_then(toml::Value::as_str) == Some("deny");
        let list = |section: &str, key: &str| -> Vec<toml::Value> {
            value(section, key).and_then(toml::Value::as_array).cloned().unwrap_or_default()
        };
        let skipped = |entry: &toml::Value| {
            let name = entry.get("crate").or_else(|| entry.get("name")).unwrap_or(entry);
            name.as_str().map(str::to_owned)
        };
        Ok(Self {
            licences: list("licenses", "allow").iter().filter_map(|name| name.as_str().map(str::to_owned)).collect(),
            skipped: list("bans", "skip").iter().filter_map(skipped).collect(),
            denies_duplicates: is_denied("bans", "multiple-versions"),
            denies_other_sources: is_denied("sources", "unknown-registry") && is_denied("sources", "unknown-git"),
        })
    }

    fn complaints(&self, packages: &[Package]) -> Vec<String> {
        let foreign: Vec<&Package> = packages.iter().filter(|package| package.source.is_some()).collect();
        let mut complaints = Vec::new();
        let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for package in &foreign {
            let Package { name, version, licence, source } = package;
            let licence = licence.as_deref().unwrap_or("none");
            if !licence::is_allowed(licence, &self.licences) {
                complaints.push(format!("{name} {version}: licence {licence} is not allowed"));
            }
            if self.denies_other_sources && source.as_deref() != Some(CRATES_IO) {
                complaints.push(format!("{name} {version}: comes from {}", source.as_deref().unwrap_or_default()));
            }
            if !self.skips(name, version) {
                versions.entry(name).or_default().push(version);
            }
        }
        let duplicates = versions.iter().filter(|(_, versions)| self.denies_duplicates && versions.len() > 1);
        complaints.extend(duplicates.map(|(name, versions)| format!("{name}: in versions {}", versions.join(" and "))));
        complaints
    }

    /// An entry is `name`, or `name@version` with as many parts of the version as matter.
    fn skips(&self, name: &str, version: &str) -> bool {
        self.skipped.iter().any(|entry| match entry.split_once('@') {
            None => entry == name,
            Some((skipped, wanted)) => {
                let is_version =
                    version.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
                skipped == name && is_version
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENY: &str = "[licenses]\nallow = [\"MIT\"]\n[bans]\nmultiple-versions = \"deny\"\n\
        skip = [{ crate = \"old@1\", reason = \"x\" }, \"any\"]\n[sources]\nunknown-registry = \"deny\"\nunknown-git = \"deny\"\n";

    fn package(name: &str, version: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            licence: Some("MIT".to_owned()),
            source: Some(CRATES_IO.to_owned()),
        }
    }

    #[test]
    fn what_deny_toml_forbids_is_found_and_nothing_else() {
        let rules = Rules::read(DENY).unwrap();
        let good = [
            package("a", "1.0.0"),
            package("b", "1.0.0"),
            Package { source: None, licence: None, ..package("own", "1.0.0") },
        ];
        assert!(rules.complaints(&good).is_empty());
        let bad_licence = Package { licence: Some("GPL-3.0-only".to_owned()), ..package("a", "1.0.0") };
        assert_eq!(rules.complaints(&[bad_licence]), ["a 1.0.0: licence GPL-3.0-only is not allowed"]);
        let elsewhere = Package { source: Some("git+https://example.org/a".to_owned()), ..package("a", "1.0.0") };
        assert_eq!(rules.complaints(&[elsewhere]), ["a 1.0.0: comes from git+https://example.org/a"]);
        let twice = [package("a", "1.0.0"), package("a", "2.0.0")];
        assert_eq!(rules.complaints(&twice), ["a: in versions 1.0.0 and 2.0.0"]);
        let skipped =
            [package("old", "1.2.0"), package("old", "2.0.0"), package("any", "1.0.0"), package("any", "2.0.0")];
        assert!(rules.complaints(&skipped).is_empty());
        assert_eq!(rules.complaints(&[package("old", "10.0.0"), package("old", "2.0.0")]).len(), 1);
    }

    #[test]
    fn only_what_is_built_is_looked_at() {
        let tree = "a v1.0.0 (/somewhere/a)\nb v2.1.0\nb v2.1.0 (*)\nc v0.1.0 (proc-macro)\n\n";
        let expected = [("a", "1.0.0"), ("b", "2.1.0"), ("c", "0.1.0")];
        let expected = expected.map(|(name, version)| (name.to_owned(), version.to_owned()));
        assert_eq!(built(tree), BTreeSet::from(expected));
    }

    #[test]
    fn cargos_description_is_read() {
        let described = r#"{"packages":[{"name":"a","version":"1.0.0","license":"MIT","source":null}]}"#;
        let expected = Package { source: None, ..package("a", "1.0.0") };
        assert_eq!(packages(described).unwrap(), [expected]);
    }
}
