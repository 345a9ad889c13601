//! Labs stand side by side, and `cargo xtask` leaves nothing of them behind.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use dispatcher_lab::{
    RunDirectory, Status, Suffix, Topology,
    addresses::VIP4,
    config,
    demo_backend::{DemoBackend, Settings},
    mount_bpffs, remove, wait_until,
};
use dispatcher_tests::{
    Stage, curl,
    http::Answer,
    stage::{self, SOON},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

/// Building may be part of it.
const UP_WITHIN: Duration = Duration::from_secs(120);

/// A lab that `cargo xtask` makes; what is left of it at the end of the test is removed.
struct Foreign {
    suffix: Suffix,
    word: String,
}

impl Foreign {
    fn new(mark: &str) -> Self {
        let suffix = stage::suffix(mark);
        Self { word: suffix.to_string().trim_start_matches('-').to_owned(), suffix }
    }

    fn xtask(&self, words: &[&str], rest: &[&str]) -> Command {
        let mut command = Command::new(stage::xtask());
        command.args(words).args(["--suffix", &self.word]).args(rest).stdin(Stdio::null());
        command
    }

    fn call(&self, words: &[&str], rest: &[&str]) -> Output {
        self.xtask(words, rest).output().unwrap()
    }

    fn assert_nothing_is_left(&self) {
        assert!(Status::of(&self.suffix).is_absent(), "{:?}", Status::of(&self.suffix));
        let directory = RunDirectory::of(&self.suffix);
        assert!(!directory.path().exists() && !directory.pins().exists());
        let mine = self.suffix.to_string();
        let left: Vec<_> = fs::read_dir("/run/netns").unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(&mine)), "{left:?}");
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        remove(&self.suffix).unwrap();
    }
}

/// A program in the foreground; it does not outlive its test.
struct Foreground(Child);

impl Foreground {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal).unwrap();
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Waits for its end; gives its exit code, unless a signal ended it.
    fn end(&mut self) -> Option<i32> {
        wait_until("its end", SOON, || self.has_ended()).unwrap();
        self.0.wait().unwrap().code()
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn answer(output: &Output) -> Answer {
    assert!(output.status.success(), "{output:?}");
    Answer::read(&output.stdout)
}

#[test]
fn two_labs_stand_side_by_side() {
    let (Some(mut one), Some(mut other)) = (Stage::start("sa"), Stage::start("sb")) else { return };
    one.done(&["backend", "drain", "web/b1"]);
    let url = format!("http://{VIP4}/");
    for _ in 0..6 {
        assert_ne!(curl::answer(one.client(), &[&url]).backend, "b1");
    }
    let reached: Vec<String> = (0..6).map(|_| curl::answer(other.client(), &[&url]).backend).collect();
    assert!(reached.contains(&"b1".to_owned()), "{reached:?}");
    drop(one);
    assert_eq!(other.picks("web").values().sum::<u64>(), 6);
    curl::answer(other.client(), &[&url]);
}

#[test]
fn background_lab_is_used_and_removed_by_xtask() {
    if !stage::is_capable() {
        return;
    }
    let lab = Foreign::new("bg");
    assert_eq!(lab.call(&["lab", "status"], &[]).status.code(), Some(1), "there is no lab yet");
    let up = lab.call(&["lab", "up"], &[]);
    assert!(up.status.success(), "{up:?}");
    assert!(stage::text(&up.stdout).contains(&format!("lab exec --suffix {} dsp-client -- curl", lab.word)), "{up:?}");
    let status = lab.call(&["lab", "status"], &[]);
    assert!(status.status.success() && stage::text(&status.stdout).contains("b1 b2 b3 dispatcher"), "{status:?}");
    let again = lab.call(&["lab", "up"], &[]);
    assert!(!again.status.success() && stage::text(&again.stderr).contains("exists already"), "{again:?}");

    let url = format!("http://{VIP4}/");
    let reply = lab.call(&["lab", "exec"], &["dsp-client", "--", "curl", "-s", "--max-time", "10", &url]);
    assert!(answer(&reply).backend.starts_with('b'));
    let list = lab.call(&["lab", "exec"], &["dsp-lb1", "--", "dispatcher", "backend", "list", "web"]);
    assert!(stage::text(&list.stdout).contains("web/b1"), "{list:?}");
    let failed = lab.call(&["lab", "exec"], &["dsp-lb1", "--", "dispatcher", "backend", "drain", "web/b9"]);
    assert_eq!(failed.status.code(), Some(1), "the exit code is the program's: {failed:?}");

    let down = lab.call(&["lab", "down"], &[]);
    assert!(down.status.success() && stage::text(&down.stdout).contains("the lab is gone"), "{down:?}");
    lab.assert_nothing_is_left();
    let exec = lab.call(&["lab", "exec"], &["dsp-client", "--", "true"]);
    assert!(!exec.status.success() && stage::text(&exec.stderr).contains("no lab is up"), "{exec:?}");
    assert!(stage::text(&lab.call(&["lab", "down"], &[]).stdout).contains("there was no lab"));
}

/// `cargo xtask run`, once it says that the lab is up.
fn run_lab(lab: &Foreign, rest: &[&str]) -> Foreground {
    // Not below the lab's folder, which is not there yet; unlinked by nobody else.
    let log = std::env::temp_dir().join(format!("dispatcher-labs-{}.log", lab.word));
    let mut command = lab.xtask(&["run"], rest);
    command.stdout(fs::File::create(&log).unwrap()).stderr(Stdio::inherit());
    let mut child = Foreground(command.spawn().unwrap());
    let outcome = wait_until("the lab up", UP_WITHIN, || {
        let said = fs::read_to_string(&log).unwrap();
        said.contains("Ctrl-C removes all of it.") || child.has_ended()
    });
    let said = fs::read_to_string(&log).unwrap();
    fs::remove_file(&log).unwrap();
    assert!(outcome.is_ok() && !child.has_ended(), "{said}");
    child
}

#[test]
fn foreground_lab_is_gone_after_ctrl_c_and_cleaned_up_after_a_crash() {
    if !stage::is_capable() {
        return;
    }
    let lab = Foreign::new("fg");
    let url = format!("http://{VIP4}/");
    let curl = ["dsp-client", "--", "curl", "-s", "--max-time", "10", &url];
    let mut child = run_lab(&lab, &[]);
    answer(&lab.call(&["lab", "exec"], &curl));
    child.signal(Signal::SIGINT);
    assert_eq!(child.end(), Some(0));
    lab.assert_nothing_is_left();

    let mut child = run_lab(&lab, &["--mode", "generic", "--backends", "1"]);
    child.signal(Signal::SIGKILL);
    assert_eq!(child.end(), None);
    assert!(!Status::of(&lab.suffix).is_absent(), "a crash leaves it standing");
    let mut child = run_lab(&lab, &["--clean"]);
    answer(&lab.call(&["lab", "exec"], &curl));
    child.signal(Signal::SIGTERM);
    assert_eq!(child.end(), Some(0));
    lab.assert_nothing_is_left();
}

#[test]
fn run_on_interfaces_says_what_it_attached_and_detaches_on_ctrl_c() {
    if !stage::is_capable() {
        return;
    }
    mount_bpffs().unwrap();
    let suffix = stage::suffix("nic");
    let files = RunDirectory::of(&suffix).claim(&suffix).unwrap();
    let topology = Topology::build(&suffix, 2).unwrap();
    let backends = (1..).zip(&topology.backends);
    let _servers: Vec<DemoBackend> =
        backends.map(|(number, at)| DemoBackend::start_in(at, &Settings::of_lab(number, None)).unwrap()).collect();
    let directory = files.directory();
    // Its interfaces are those of the command line; that of the configuration is not there.
    let text = config::demo_config(directory, "native", "keep", 2, None).replace("client0", "nosuch0");
    fs::write(directory.config(), text).unwrap();
    let log = directory.log("run");
    let mut command = Command::new(stage::xtask());
    command.args(["run", "--iface", "client0", "--iface", "farm0", "--config"]).arg(directory.config());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
    let mut child = Foreground(topology.dispatcher.spawn(&mut command).unwrap());
    let said = || fs::read_to_string(&log).unwrap();
    let outcome = wait_until("its readiness", UP_WITHIN, || said().contains("ready") || child.has_ended());
    assert!(outcome.is_ok() && !child.has_ended(), "{}", said());
    assert!(said().contains("attached to client0 (veth, native mode)"), "{}", said());
    let reply = topology.client.output(&mut curl::command(&[&format!("http://{VIP4}/")])).unwrap();
    child.signal(Signal::SIGINT);
    assert_eq!(child.end(), Some(0), "{}", said());
    assert!(answer(&reply).backend.starts_with('b'));
    assert!(!directory.pins().exists() && !directory.socket().exists());
    let links = || topology.dispatcher.succeed(Command::new("ip").args(["-details", "link", "show"])).unwrap();
    wait_until("no program on any interface", SOON, || !links().contains("xdp")).unwrap();
}
