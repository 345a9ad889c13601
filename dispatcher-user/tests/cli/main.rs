//! The command line as its users see it: help, tables, JSON, words and exit codes, from the real program.
//!
//! A daemon that always gives the same answers stands behind it. Texts are kept in `snapshots`; after a change that is
//! meant, `INSTA_UPDATE=always cargo test -p dispatcher-user --test cli` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod answers;
mod requests;

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Command, Stdio},
    sync::mpsc as std_mpsc,
    thread,
};

use dispatcher_user::control::{
    api::Request,
    server::{Call, Server},
};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// A daemon that always gives the same answers, and keeps what it was asked.
struct Fake {
    place: TempDir,
    asked: std_mpsc::Receiver<Request>,
}

impl Fake {
    fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        let socket = place.path().join("control.sock");
        let (ready_in, ready) = std_mpsc::sync_channel(1);
        let (asked_in, asked) = std_mpsc::sync_channel(1024);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let server = Server::bind(&socket).unwrap();
                ready_in.send(()).unwrap();
                let (calls_in, mut calls) = mpsc::channel::<Call>(4);
                tokio::spawn(server.serve(calls_in));
                let mut drops_asked = 0;
                while let Some((request, answer)) = calls.recv().await {
                    drops_asked += u64::from(request == Request::Drops);
                    answer.send(answers::to(&request, drops_asked)).ok();
                    asked_in.send(request).ok();
                }
            });
        });
        ready.recv().unwrap();
        Self { place, asked }
    }

    fn socket(&self) -> PathBuf {
        self.place.path().join("control.sock")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = dispatcher(arguments);
        command.env("DISPATCHER_SOCKET", self.socket());
        command
    }

    /// What calls look like in a terminal.
    fn session(&self, calls: &[&[&str]]) -> String {
        calls.iter().map(|arguments| told(self.command(arguments), arguments)).collect()
    }

    /// The JSON of what the last call asked.
    fn last_asked(&self) -> String {
        serde_json::to_string(&self.asked.try_iter().last().unwrap()).unwrap()
    }
}

/// The program, with nothing of the terminal or environment that the tests happen to run in.
fn dispatcher(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dispatcher"));
    command.args(arguments).stdin(Stdio::null()).env_clear();
    command
}

fn told(mut command: Command, arguments: &[&str]) -> String {
    let output = command.output().unwrap();
    let mut told = format!("$ dispatcher {}\n{}", arguments.join(" "), String::from_utf8(output.stdout).unwrap());
    let words = String::from_utf8(output.stderr).unwrap();
    told.extend(words.lines().map(|line| format!("! {line}\n")));
    match output.status.code() {
        Some(0) => {}
        Some(code) => told.push_str(&format!("exit code {code}\n")),
        None => told.push_str("killed\n"),
    }
    told.push('\n');
    told
}

#[test]
fn help_texts() {
    let commands: &[&[&str]] = &[
        &["--help"],
        &["run", "-h"],
        &["check", "-h"],
        &["status", "-h"],
        &["attach", "-h"],
        &["detach", "-h"],
        &["service", "-h"],
        &["service", "add", "-h"],
        &["service", "set", "-h"],
        &["backend", "-h"],
        &["backend", "add", "-h"],
        &["backend", "set", "-h"],
        &["backend", "remove", "-h"],
        &["flow", "-h"],
        &["flow", "list", "-h"],
        &["flow", "remove", "-h"],
        &["lock", "-h"],
        &["lock", "release", "-h"],
        &["drops", "-h"],
        &["config", "dump", "-h"],
        &["log-level", "-h"],
        &["completions", "-h"],
    ];
    let texts: String = commands.iter().map(|arguments| told(dispatcher(arguments), arguments)).collect();
    insta::assert_snapshot!(texts);
}

#[test]
fn tables() {
    let text = Fake::start().session(&[
        &["status"],
        &["service", "list"],
        &["service", "show", "web"],
        &["backend", "list"],
        &["flow", "list"],
        &["flow", "list", "--limit", "2"],
        &["lock", "list"],
        &["drops"],
        &["config", "dump"],
        &["version"],
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn wide_tables() {
    let wide = |command: &'static [&'static str]| [command, &["-o", "wide"]].concat();
    let calls =
        [wide(&["service", "list"]), wide(&["backend", "list", "web"]), wide(&["flow", "list"]), wide(&["drops"])];
    let calls: Vec<&[&str]> = calls.iter().map(Vec::as_slice).collect();
    insta::assert_snapshot!(Fake::start().session(&calls));
}

#[test]
fn json() {
    let fake = Fake::start();
    let calls: &[&[&str]] = &[
        &["status"],
        &["service", "list"],
        &["service", "show", "web"],
        &["backend", "list"],
        &["flow", "list"],
        &["lock", "list"],
        &["drops"],
        &["config", "dump"],
        &["backend", "drain", "web/b1"],
        &["version"],
    ];
    let mut text = String::new();
    for arguments in calls {
        let output = fake.command(arguments).args(["-o", "json", "-q"]).output().unwrap();
        assert!(output.stderr.is_empty());
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["version"], 1);
        assert!(document["items"].is_array());
        text += &format!("$ dispatcher {} -o json\n{document:#}\n\n", arguments.join(" "));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn commands_ask_for_what_they_say() {
    let fake = Fake::start();
    let calls: &[&[&str]] = &[
        &["attach", "eth0", "--mode", "generic"],
        &["detach", "eth0"],
        &["detach", "--all"],
        &["service", "add", "web", "--vip", "203.0.113.10:80/tcp"],
        &["service", "add", "dns6", "--vip", "[2001:db8::10]:53/udp", "--scheduler", "mh", "--forward", "dsr"],
        &["service", "set", "web", "scheduler=wlc", "affinity=client-ip", "affinity_timeout=90s"],
        &["service", "remove", "web"],
        &["backend", "list", "web"],
        &["backend", "add", "web", "b1", "10.77.1.11:8080", "--weight", "50"],
        &["backend", "set", "web/b1", "drain", "weight=0"],
        &["backend", "ready", "web/b1"],
        &["backend", "drain", "web/b1"],
        &["backend", "maint", "web/b1"],
        &["backend", "weight", "web/b1", "7"],
        &["backend", "remove", "web/b1"],
        &["backend", "remove", "web/b1", "--force"],
        &["flow", "list", "--service", "web", "--client", "198.51.100.0/24", "--limit", "5"],
        &["flow", "remove", "198.51.100.2:40000>203.0.113.10:80/tcp"],
        &["lock", "release", "198.51.100.2", "--service", "web"],
        &["log-level", "debug"],
    ];
    let mut text = String::new();
    for arguments in calls {
        let output = fake.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        let words = String::from_utf8(output.stderr).unwrap();
        text += &format!("$ dispatcher {}\n> {}\n", arguments.join(" "), fake.last_asked());
        text.extend(words.lines().map(|line| format!("! {line}\n")));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn mistakes() {
    let fake = Fake::start();
    let text = fake.session(&[
        &["service", "show", "shop"],
        &["attach", "eth9"],
        &["attach", "eth/9"],
        &["service", "add", "Web", "--vip", "203.0.113.10:80/tcp"],
        &["service", "add", "web", "--vip", "203.0.113.10:80"],
        &["service", "add", "web", "--vip", "127.0.0.1:80/tcp"],
        &["service", "add", "web", "--vip", "203.0.113.10:80/tcp", "--forward", "encap"],
        &["service", "add", "web", "--vip", "203.0.113.10:80/tcp", "--scheduler", "least-laod"],
        &["service", "set", "web", "forward=dsr"],
        &["backend", "set", "web/b1", "resting"],
        &["backend", "weight", "web/b1", "1001"],
        &["backend", "drain", "b1"],
        &["flow", "remove", "198.51.100.2:40000"],
        &["flow", "list", "--client", "198.51.100.0/33"],
        &["detach"],
        &["servise"],
    ]);
    insta::assert_snapshot!(text);
    assert_eq!(fake.asked.try_iter().count(), 2, "mistakes in a command reach no daemon");
}

#[test]
fn no_daemon() {
    let text: String = ["status", "drops", "config dump", "backend drain web/b1"]
        .map(|call| {
            let mut arguments: Vec<&str> = call.split(' ').collect();
            arguments.extend(["--socket", "/nowhere/control.sock"]);
            told(dispatcher(&arguments), &arguments)
        })
        .concat();
    insta::assert_snapshot!(text);
}

#[test]
fn files() {
    let place = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(place.path().join(name), text).unwrap();
    let service = "[[service]]\nname = \"web\"\nvip = \"203.0.113.10:80\"\nprotocol = \"tcp\"\n";
    let backend = "  [[service.backend]]\n  name = \"b1\"\n  address = \"10.77.1.11:8080\"\n";
    write("good.toml", &format!("[[interface]]\nname = \"eth0\"\n{service}{backend}"));
    write("slip.toml", &format!("[[interface]]\nname = \"eth0\"\n{service}{backend}  weigth = 3\n[cluster]\n"));
    write("bare.toml", service);
    let calls: &[&[&str]] = &[
        &["check", "good.toml"],
        &["check", "good.toml", "-o", "json"],
        &["check", "slip.toml"],
        &["check", "slip.toml", "-o", "json"],
        &["check", "bare.toml"],
        &["check", "none.toml"],
        &["config", "dump", "good.toml"],
        &["run", "--config", "slip.toml"],
        &["run", "--config", "bare.toml"],
        &["detach", "eth0", "--config", "slip.toml", "--socket", "/nowhere/control.sock"],
    ];
    let text = calls.iter().map(|arguments| {
        let mut command = dispatcher(arguments);
        command.current_dir(place.path());
        told(command, arguments)
    });
    insta::assert_snapshot!(text.collect::<String>());
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let fake = Fake::start();
    for arguments in [&["flow", "list"][..], &["completions", "bash"], &["--help"]] {
        let mut child = fake.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut words = String::new();
        child.stderr.take().unwrap().read_to_string(&mut words).unwrap();
        assert_eq!((child.wait().unwrap().code(), words.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn watched_drops_show_what_was_added() {
    let fake = Fake::start();
    for (format, expected) in [
        (
            "table",
            "+7          pass_not_ours            Its destination is no service; the kernel has it, untouched.\n",
        ),
        (
            "json",
            "{\"version\":1,\"items\":[{\"reason\":\"pass_not_ours\",\
             \"meaning\":\"Its destination is no service; the kernel has it, untouched.\",\"packets\":7}]}\n",
        ),
    ] {
        let mut child = fake.command(&["drops", "-w", "-o", format]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert_eq!(line, expected);
        // It goes on until nobody reads it any more.
        drop(lines);
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn completions_know_commands_and_words() {
    for shell in ["bash", "zsh", "fish"] {
        let output = dispatcher(&["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        for word in ["log-level", "least-load", "client-ip"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}
