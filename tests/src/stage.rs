//! A lab for one test, and the command line of its dispatcher.

use dispatcher_lab::{
    Lab, LabOptions, Namespace, Suffix,
    addresses::{backend4, backend6},
    wait_until,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    env,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::Output,
    time::Duration,
};

/// How many backends a stage has.
pub const BACKENDS: u8 = 3;
/// How long a condition may take to come true on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// A lab of three backends, removed at the end of the test however that ends.
#[derive(Debug)]
pub struct Stage {
    /// The lab.
    pub lab: Lab,
}

/// A service that a test adds to those of the lab.
#[derive(Debug, Clone)]
pub struct NewService<'a> {
    /// Its name.
    pub name: &'a str,
    /// What clients use.
    pub vip: SocketAddr,
    /// `tcp` or `udp`.
    pub protocol: &'a str,
    /// Options of `service add`.
    pub options: &'a [&'a str],
    /// The port of its backends.
    pub backend_port: u16,
    /// The weights of b1, b2 and b3.
    pub weights: [u16; BACKENDS as usize],
}

impl Stage {
    /// Starts a lab in native mode. Without root it says so and there is none, which in CI is a failure.
    #[must_use]
    pub fn start(mark: &str) -> Option<Self> {
        Self::start_with(mark, |_| {})
    }

    /// Starts a lab with `shop`.
    #[must_use]
    pub fn start_with_shop(mark: &str) -> Option<Self> {
        Self::start_with(mark, |options| options.has_shop = true)
    }

    /// Starts a lab with other options.
    ///
    /// # Panics
    /// When the lab cannot be had.
    pub fn start_with(mark: &str, change: impl FnOnce(&mut LabOptions)) -> Option<Self> {
        if !is_capable() {
            return None;
        }
        let mut options = LabOptions {
            suffix: suffix(mark),
            backends: BACKENDS,
            mode: "native".to_owned(),
            on_exit: "detach".to_owned(),
            has_shop: false,
            dispatcher: dispatcher(),
            backend_program: xtask(),
        };
        change(&mut options);
        let mut stage = Self { lab: Lab::start(&options).unwrap_or_else(|error| panic!("{error}")) };
        stage.wait_until_available();
        Some(stage)
    }

    /// Where clients run.
    #[must_use]
    pub const fn client(&self) -> &Namespace {
        &self.lab.topology().client
    }

    /// Calls the command line, however it ends.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn call(&mut self, arguments: &[&str]) -> Output {
        self.lab.daemon().call(arguments).unwrap()
    }

    /// Calls the command line, which must succeed; what it says.
    ///
    /// # Panics
    /// When it fails.
    pub fn done(&mut self, arguments: &[&str]) -> String {
        let output = self.call(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// The items of a JSON answer.
    ///
    /// # Panics
    /// When the command fails, or its output is not of the form that all have.
    pub fn items(&mut self, arguments: &[&str]) -> Vec<Value> {
        let words: Vec<&str> = ["-o", "json"].into_iter().chain(arguments.iter().copied()).collect();
        let output = self.done(&words);
        let mut document: Value = serde_json::from_str(&output).unwrap();
        assert_eq!(document["version"], 1, "{output}");
        serde_json::from_value(document["items"].take()).unwrap()
    }

    /// A number of `status`.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn status(&mut self, key: &str) -> u64 {
        self.items(&["status"])[0][key].as_u64().unwrap_or_else(|| panic!("status has no number {key}"))
    }

    /// The count of a reason, as `drops` shows it.
    ///
    /// # Panics
    /// When there is no such reason.
    pub fn count(&mut self, reason: &str) -> u64 {
        let rows = self.items(&["drops"]);
        let row = rows.iter().find(|row| row["reason"] == reason).unwrap_or_else(|| panic!("no reason {reason}"));
        row["packets"].as_u64().unwrap()
    }

    /// How often each backend of a service was picked, as `backend list` shows it.
    ///
    /// # Panics
    /// When there is no such service.
    pub fn picks(&mut self, service: &str) -> BTreeMap<String, u64> {
        self.backends(service, "picks")
    }

    /// The live flows of each backend of a service.
    ///
    /// # Panics
    /// When there is no such service.
    pub fn flows(&mut self, service: &str) -> BTreeMap<String, u64> {
        self.backends(service, "flows")
    }

    fn backends(&mut self, service: &str, key: &str) -> BTreeMap<String, u64> {
        let rows = self.items(&["backend", "list", service]);
        rows.iter().map(|row| (row["name"].as_str().unwrap().to_owned(), row[key].as_u64().unwrap())).collect()
    }

    /// Adds a service by command line, and waits until all of its backends take flows.
    ///
    /// # Panics
    /// When the daemon refuses it.
    pub fn add_service(&mut self, new: &NewService<'_>) {
        let vip = format!("{}/{}", new.vip, new.protocol);
        let add = ["service", "add", new.name, "--vip", &vip];
        self.done(&add.into_iter().chain(new.options.iter().copied()).collect::<Vec<_>>());
        for (number, weight) in (1..).zip(new.weights) {
            let address = if new.vip.is_ipv4() { IpAddr::V4(backend4(number)) } else { backend6(number).into() };
            let address = SocketAddr::new(address, new.backend_port).to_string();
            let (name, weight) = (format!("b{number}"), weight.to_string());
            self.done(&["backend", "add", new.name, &name, &address, "--weight", &weight]);
        }
        self.wait_until_available();
    }

    /// Waits until every backend can be reached.
    ///
    /// # Panics
    /// When that does not happen.
    pub fn wait_until_available(&mut self) {
        let mut rows = Vec::new();
        let outcome = wait_until("every backend up", SOON, || {
            rows = self.items(&["backend", "list"]);
            rows.iter().all(|row| row["health"] == "up")
        });
        assert!(outcome.is_ok(), "not every backend is up: {rows:?}");
    }
}

/// The dispatcher under test.
///
/// # Panics
/// When nobody says where it is. A guess might find one that was built before the last change.
#[must_use]
pub fn dispatcher() -> PathBuf {
    named("DISPATCHER_BIN")
}

/// The program whose `demo-backend` serves the labs, and whose `lab` and `run` are tested themselves.
///
/// # Panics
/// As [`dispatcher`].
#[must_use]
pub fn xtask() -> PathBuf {
    named("DISPATCHER_XTASK")
}

fn named(variable: &str) -> PathBuf {
    let path = env::var_os(variable).unwrap_or_else(|| {
        panic!("{variable} is not set: `cargo xtask test --filter NAME` builds what a test needs, and names it")
    });
    let path = PathBuf::from(path);
    path.canonicalize().unwrap_or_else(|error| panic!("{variable}={}: {error}", path.display()))
}

/// Whether namespaces can be made here.
///
/// # Panics
/// When not, in CI.
#[must_use]
pub fn is_capable() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    assert!(is_root || env::var_os("CI").is_none(), "network namespaces need root");
    if !is_root {
        eprintln!("skipped: network namespaces need root");
    }
    is_root
}

/// A suffix that no other lab has: the test's mark, of at most five letters, and this process.
///
/// # Panics
/// When the mark is too long.
#[must_use]
pub fn suffix(mark: &str) -> Suffix {
    format!("{mark}{}", std::process::id()).parse().unwrap_or_else(|error| panic!("{error}"))
}

/// Bytes that a program printed, as text.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
