//! Labs stand side by side, and `cargo xtask` leaves nothing of them behind.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use dispatcher_lab::{RunDirectory, Status, Suffix, addresses::VIP4, remove, wait_until};
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
fn run(lab: &Foreign, rest: &[&str]) -> Child {
    // Not below the lab's folder, which is not there yet; unlinked by nobody else.
    let log = std::env::temp_dir().join(format!("dispatcher-labs-{}.log", lab.word));
    let mut command = lab.xtask(&["run"], rest);
    command.stdout(fs::File::create(&log).unwrap()).stderr(Stdio::inherit());
    let mut child = command.spawn().unwrap();
    let outcome = wait_until("the lab up", UP_WITHIN, || {
        let said = fs::read_to_string(&log).unwrap();
        said.contains("Ctrl-C removes all of it.") || child.try_wait().unwrap().is_some()
    });
    let said = fs::read_to_string(&log).unwrap();
    fs::remove_file(&log).unwrap();
    assert!(outcome.is_ok() && child.try_wait().unwrap().is_none(), "{said}");
    child
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

fn end(child: &mut Child) -> Option<i32> {
    let mut status = None;
    wait_until("its end", SOON, || {
        status = child.try_wait().unwrap();
        status.is_some()
    })
    .unwrap();
    status.unwrap().code()
}

#[test]
fn foreground_lab_is_gone_after_ctrl_c_and_cleaned_up_after_a_crash() {
    if !stage::is_capable() {
        return;
    }
    let lab = Foreign::new("fg");
    let url = format!("http://{VIP4}/");
    let curl = ["dsp-client", "--", "curl", "-s", "--max-time", "10", &url];
    let mut child = run(&lab, &[]);
    answer(&lab.call(&["lab", "exec"], &curl));
    signal(&child, Signal::SIGINT);
    assert_eq!(end(&mut child), Some(0));
    lab.assert_nothing_is_left();

    let mut child = run(&lab, &["--mode", "generic", "--backends", "1"]);
    signal(&child, Signal::SIGKILL);
    assert_eq!(end(&mut child), None);
    assert!(!Status::of(&lab.suffix).is_absent(), "a crash leaves it standing");
    let mut child = run(&lab, &["--clean"]);
    answer(&lab.call(&["lab", "exec"], &curl));
    signal(&child, Signal::SIGTERM);
    assert_eq!(end(&mut child), Some(0));
    lab.assert_nothing_is_left();
}
