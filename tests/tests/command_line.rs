//! The command line on a real daemon: what it changes, what it refuses, and how it ends.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use dispatcher_lab::{
    Signal,
    addresses::{VIP4, VIP6, client4},
    wait_until,
};
use dispatcher_tests::{
    Stage, curl, http,
    stage::{self, NewService, SOON},
};
use std::{
    fs::{self, Permissions},
    net::{SocketAddr, UdpSocket},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Command, Output, Stdio},
};

/// Asserts that a call ends with `code` and says so in words that hold `words`.
fn assert_refused(output: &Output, code: i32, words: &str) {
    let said = stage::text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(words), "{words:?} is not in {said:?}");
}

fn refuse(stage: &mut Stage, arguments: &[&str], code: i32, words: &str) {
    assert_refused(&stage.call(arguments), code, words);
}

/// What the listing says of a backend.
fn state(stage: &mut Stage, service: &str, backend: &str) -> (String, u64) {
    let rows = stage.items(&["backend", "list", service]);
    let row = rows.iter().find(|row| row["name"] == backend).unwrap();
    (row["state"].as_str().unwrap().to_owned(), row["weight"].as_u64().unwrap())
}

#[test]
fn service_and_its_backends_come_change_and_go() {
    let Some(mut stage) = Stage::start("cli") else { return };
    let vip = SocketAddr::new(VIP4.into(), 8004);
    let url = format!("http://{vip}/");
    let service =
        NewService { name: "shop", vip, protocol: "tcp", options: &[], backend_port: 8080, weights: [100; 3] };
    stage.add_service(&service);
    refuse(&mut stage, &["service", "add", "shop", "--vip", "203.0.113.10:8005/tcp"], 1, "shop");
    refuse(&mut stage, &["service", "add", "other", "--vip", "203.0.113.10:8004/tcp"], 1, "8004");
    refuse(&mut stage, &["backend", "add", "shop", "b1", "10.77.1.13:9999"], 1, "b1");
    refuse(&mut stage, &["backend", "add", "shop", "b9", "[2001:db8:77::11]:8080"], 1, "families");
    curl::answer(stage.client(), &[&url]);

    stage.done(&["service", "set", "shop", "scheduler=wlc", "affinity=client-ip", "affinity_timeout=90s"]);
    let shown = stage.items(&["service", "show", "shop"])[0]["service"].clone();
    assert_eq!((&shown["scheduler"], &shown["affinity"]), (&"wlc".into(), &"client-ip".into()));
    assert_eq!((&shown["affinity_timeout_ms"], &shown["backends_available"]), (&90_000.into(), &3.into()));
    stage.done(&["service", "set", "shop", "affinity=none"]);

    for (command, expected) in [("drain", "drain"), ("maint", "maint"), ("ready", "ready")] {
        stage.done(&["backend", command, "shop/b1"]);
        assert_eq!(state(&mut stage, "shop", "b1"), (expected.to_owned(), 100));
    }
    stage.done(&["backend", "weight", "shop/b1", "7"]);
    stage.done(&["backend", "set", "shop/b1", "drain", "weight=8"]);
    assert_eq!(state(&mut stage, "shop", "b1"), ("drain".to_owned(), 8));
    stage.done(&["backend", "set", "shop/b1", "ready"]);
    refuse(&mut stage, &["backend", "drain", "shop/b9"], 1, "b9");
    refuse(&mut stage, &["backend", "drain", "shopping/b1"], 1, "shopping");

    // One with live flows is not removed by mistake, and takes them along when it is meant.
    stage.done(&["service", "set", "shop", "scheduler=rr"]);
    let held = http::hold(stage.client(), vip, None, 6);
    refuse(&mut stage, &["backend", "remove", "shop/b2"], 1, "live flow");
    stage.done(&["backend", "remove", "shop/b2", "--force"]);
    let broken = held.iter().filter(|one| one.ask().is_err());
    assert!(broken.map(|one| one.answer.backend.as_str()).eq(["b2"; 2]), "{held:?}");
    refuse(&mut stage, &["backend", "remove", "shop/b2", "--force"], 1, "b2");
    let answers = http::hold(stage.client(), vip, None, 10);
    assert!(answers.iter().all(|one| one.answer.backend != "b2"), "{answers:?}");

    stage.done(&["service", "remove", "shop"]);
    refuse(&mut stage, &["service", "remove", "shop"], 1, "shop");
    refuse(&mut stage, &["service", "show", "shop"], 1, "shop");
    // Its VIP is nobody's now, and the kernel says so.
    let output = stage.client().output(&mut curl::command(&["--max-time", "5", &url])).unwrap();
    assert_ne!(output.status.code(), Some(0));
    // The other services never noticed.
    curl::answer(stage.client(), &[&format!("http://{VIP4}/")]);
}

#[test]
fn flows_are_listed_and_removed() {
    let Some(mut stage) = Stage::start("flow") else { return };
    let held = http::hold(stage.client(), (VIP4, 80).into(), Some(client4(5).into()), 4);
    let other = http::hold(stage.client(), (VIP4, 80).into(), Some(client4(6).into()), 1);
    let _six = http::hold(stage.client(), (VIP6, 80).into(), None, 1);
    let of = |stage: &mut Stage, arguments: &[&str]| stage.items(&[&["flow", "list"], arguments].concat()).len();
    // Each flow of nat has two directions.
    assert_eq!(of(&mut stage, &["--client", "198.51.100.5"]), 8);
    assert_eq!(of(&mut stage, &["--client", "198.51.100.4/31"]), 8);
    assert_eq!(of(&mut stage, &["--client", "198.51.100.4/30", "--service", "web"]), 10);
    assert_eq!(of(&mut stage, &["--service", "web6"]), 2);
    assert_eq!(of(&mut stage, &["--limit", "3"]), 3);
    assert!(stage::text(&stage.call(&["flow", "list", "--limit", "3"]).stderr).contains("--limit shows more"));
    assert!(stage.done(&["flow", "list"]).contains(&format!("{}>203.0.113.10:80/tcp", other[0].answer.client)));

    let socket = stage.client().run(|| UdpSocket::bind((client4(7), 0)).unwrap()).unwrap();
    socket.connect((VIP4, 53)).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let ask = || {
        assert_eq!(socket.send(b"x").unwrap(), 1);
        let mut buffer = [0; 1024];
        let length = socket.recv(&mut buffer).unwrap();
        http::Answer::read(&buffer[..length]).backend
    };
    let first = ask();
    assert_eq!(ask(), first);
    let tuple = format!("{}>203.0.113.10:53/udp", socket.local_addr().unwrap());
    stage.done(&["flow", "remove", &tuple]);
    assert_eq!(of(&mut stage, &["--client", "198.51.100.7"]), 0, "both directions are gone");
    refuse(&mut stage, &["flow", "remove", &tuple], 1, "there is no flow");
    assert_ne!(ask(), first, "its next packet is a first packet, and round robin has gone on");
    // The others are as they were.
    assert!(held.iter().all(|one| one.ask().unwrap().backend == one.answer.backend));
}

#[test]
fn services_without_sessions_say_so() {
    let Some(mut stage) = Stage::start("none") else { return };
    for listing in [&["session", "list"][..], &["session", "list", "--backend", "web/b1"], &["tunnel", "list"]] {
        assert_eq!(stage.items(listing), [serde_json::Value::Null; 0], "{listing:?}");
    }
    assert_eq!(stage.items(&["qos", "list"]), [serde_json::Value::Null; 0]);
    let id = "0123456789abcdef0123456789abcdef";
    for (call, words) in [
        (&["session", "list", "--service", "shopping"][..], "no service is called `shopping`"),
        (&["session", "list", "--backend", "web/b9"], "service `web` has no backend `b9`"),
        (&["session", "show", id], "there is no session 0123456789abcdef"),
        (&["session", "move", id, "web/b1"], "there is no session 0123456789abcdef"),
        (&["session", "remove", id], "there is no session 0123456789abcdef"),
        (&["backend", "drain", "web/b1", "--move"], "no service is of mode secure"),
        (&["tunnel", "list", "shopping"], "no service is called `shopping`"),
        (&["tunnel", "show", "web/b1"], "there are no tunnels to backend `web/b1`"),
        (&["tunnel", "reset", "web/b9"], "service `web` has no backend `b9`"),
        (&["qos", "set", "default", "weight=3"], "no service is of mode secure"),
    ] {
        refuse(&mut stage, call, 1, words);
    }
    assert_eq!(state(&mut stage, "web", "b1"), ("ready".to_owned(), 100), "a drain that is refused is none");
}

#[test]
fn locks_stand_while_no_backend_is_usable_and_can_be_released() {
    let Some(mut stage) = Stage::start("lck") else { return };
    for backend in ["dns/b1", "dns/b2", "dns/b3"] {
        stage.done(&["backend", "drain", backend]);
    }
    let socket = stage.client().run(|| UdpSocket::bind((client4(4), 0)).unwrap()).unwrap();
    socket.connect((VIP4, 53)).unwrap();
    let mut locks = Vec::new();
    wait_until("a lock in the list", SOON, || {
        assert_eq!(socket.send(b"held").unwrap(), 4);
        locks = stage.items(&["lock", "list"]);
        !locks.is_empty()
    })
    .unwrap();
    assert_eq!((&locks[0]["client"], &locks[0]["service"]), (&"198.51.100.4".into(), &"dns".into()));
    assert!(locks[0]["expires_ms"].as_u64().unwrap() <= 1000, "{locks:?}");
    refuse(&mut stage, &["lock", "release", "198.51.100.3"], 1, "198.51.100.3 has no lock");
    wait_until("a lock that is released while it stands", SOON, || {
        assert_eq!(socket.send(b"held").unwrap(), 4);
        stage.call(&["lock", "release", "198.51.100.4", "--service", "dns"]).status.success()
    })
    .unwrap();
    // What is still held when a backend becomes usable is sent on in time.
    assert_eq!(socket.send(b"last").unwrap(), 4);
    stage.done(&["backend", "ready", "dns/b2"]);
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut buffer = [0; 1024];
    let mut answer = || {
        let length = socket.recv(&mut buffer).unwrap();
        http::Answer::read(&buffer[..length])
    };
    wait_until("an answer to the last datagram", SOON, || {
        let answer = answer();
        assert_eq!(answer.backend, "b2");
        answer.echo == "last"
    })
    .unwrap();
    wait_until("no lock", SOON, || stage.items(&["lock", "list"]).is_empty()).unwrap();
}

#[test]
fn drops_tell_every_reason_and_watching_tells_what_was_added() {
    let Some(mut stage) = Stage::start("drop") else { return };
    let rows = stage.items(&["drops"]);
    assert!(rows.len() > 25 && rows.iter().all(|row| row["meaning"].as_str().unwrap().ends_with('.')), "{rows:?}");
    stage.done(&["service", "add", "empty", "--vip", "203.0.113.10:8009/tcp", "--scheduler", "sh"]);
    let mut watch = stage.lab.daemon().cli(&["drops", "--watch"]);
    let log = stage.lab.directory().log("watch");
    let mut watch = watch.stdout(fs::File::create(&log).unwrap()).stderr(Stdio::null()).spawn().unwrap();
    let refused = curl::command(&["--connect-timeout", "1", "http://203.0.113.10:8009/"]);
    let outcome = wait_until("a line of the watch", SOON, || {
        stage.client().output(&mut clone(&refused)).unwrap();
        fs::read_to_string(&log).unwrap().contains("drop_no_backend")
    });
    watch.kill().unwrap();
    watch.wait().unwrap();
    outcome.unwrap();
    assert!(fs::read_to_string(&log).unwrap().starts_with('+'));
    let dropped = stage.count("drop_no_backend");
    assert!(dropped >= 1);
    assert!(stage.done(&["drops"]).contains("drop_no_backend"));
}

fn clone(command: &Command) -> Command {
    let mut copy = Command::new(command.get_program());
    copy.args(command.get_args());
    copy
}

#[test]
fn interfaces_are_detached_and_attached_while_it_runs() {
    let Some(mut stage) = Stage::start("att") else { return };
    let url = format!("http://{VIP4}/");
    curl::answer(stage.client(), &[&url]);
    let link = stage.lab.directory().pins().join("link_client0");
    refuse(&mut stage, &["attach", "client0"], 1, "client0");
    refuse(&mut stage, &["attach", "nosuch0"], 5, "nosuch0");
    refuse(&mut stage, &["detach", "nosuch0"], 1, "nosuch0");
    stage.done(&["detach", "client0"]);
    assert!(!link.exists());
    refuse(&mut stage, &["detach", "client0"], 1, "client0");
    let output = stage.client().output(&mut curl::command(&["--max-time", "3", &url])).unwrap();
    assert_ne!(output.status.code(), Some(0), "nobody dispatches");
    stage.done(&["attach", "client0", "--mode", "generic"]);
    assert!(link.exists());
    curl::answer(stage.client(), &[&url]);
    let interfaces = stage.items(&["status"])[0]["interfaces"].clone();
    assert_eq!((&interfaces[0]["name"], &interfaces[0]["mode"]), (&"client0".into(), &"generic".into()));
    stage.done(&["detach", "--all"]);
    assert_eq!(stage.items(&["status"])[0]["interfaces"], serde_json::json!([]));
}

#[test]
fn changes_survive_a_restart_and_the_dump_is_a_configuration() {
    let Some(mut stage) = Stage::start("stat") else { return };
    let service = NewService {
        name: "shop",
        vip: (VIP4, 8004).into(),
        protocol: "tcp",
        options: &["--scheduler", "wrr"],
        backend_port: 8080,
        weights: [10, 20, 30],
    };
    stage.add_service(&service);
    stage.done(&["backend", "drain", "shop/b3"]);
    stage.done(&["backend", "remove", "web/b1"]);
    stage.done(&["service", "set", "web", "scheduler=p2c"]);
    stage.done(&["service", "remove", "web-dsr6"]);
    let before = (stage.items(&["service", "list"]), stage.done(&["config", "dump"]));

    stage.lab.daemon().process().signal(Signal::SIGINT).unwrap();
    wait_until("its end", SOON, || stage.lab.daemon().ended().unwrap().is_some()).unwrap();
    stage.lab.start_dispatcher().unwrap();
    stage.wait_until_available();
    let after = (stage.items(&["service", "list"]), stage.done(&["config", "dump"]));
    let names = |items: &[serde_json::Value]| {
        let mut rows: Vec<String> = items.iter().map(|row| format!("{} {}", row["name"], row["scheduler"])).collect();
        rows.sort();
        rows
    };
    assert_eq!(names(&after.0), names(&before.0));
    assert_eq!(state(&mut stage, "shop", "b3"), ("drain".to_owned(), 30));
    assert_eq!(stage.items(&["backend", "list", "web"]).len(), 2);

    let file = stage.lab.directory().path().join("dumped.toml");
    fs::write(&file, &after.1).unwrap();
    let path = file.to_str().unwrap();
    assert!(
        stage::text(&stage.call(&["check", path]).stderr).contains("is valid: 2 interfaces, 6 services, 17 backends")
    );
    assert_eq!(stage.done(&["config", "dump", path]), after.1);
}

#[test]
fn mistakes_end_with_the_code_of_their_kind() {
    let Some(mut stage) = Stage::start("err") else { return };
    // 4: the configuration, with every mistake and its place.
    let file = stage.lab.directory().path().join("bad.toml");
    fs::write(
        &file,
        "[[interface]]\nname = \"eth0\"\n\n[[service]]\nname = \"web\"\nvip = \"203.0.113.10\"\nweigth = 1\n",
    )
    .unwrap();
    let output = stage.call(&["check", file.to_str().unwrap()]);
    assert_refused(&output, 4, "bad.toml:6:7");
    assert_refused(&output, 4, "bad.toml:7:1");
    assert_refused(&output, 4, "error[E201]: unknown key `weigth`");
    refuse(&mut stage, &["run", "--config", file.to_str().unwrap()], 4, "bad.toml:6:7");
    refuse(&mut stage, &["check", "/nonexistent.toml"], 4, "/nonexistent.toml");
    // 2: the command line.
    for (mistake, words) in [
        (["backend", "weight", "web/b1", "1001"], "1001"),
        (["service", "add", "Web", "--vip=203.0.113.10:9/tcp"], "Web"),
        (["service", "set", "web", "forward=dsr"], "cannot change"),
        (["flow", "list", "--limit", "0"], "0"),
        (["backend", "frobnicate", "web/b1", "1"], "frobnicate"),
    ] {
        refuse(&mut stage, &mistake, 2, words);
    }
    // 3: nobody there, or not for you.
    let output = Command::new(stage::dispatcher()).args(["--socket", "/nonexistent.sock", "status"]).output().unwrap();
    assert_refused(&output, 3, "/nonexistent.sock");
}

#[test]
fn control_socket_is_for_root_and_its_group_alone() {
    const NOBODY: u32 = 65_534;
    let Some(mut stage) = Stage::start("sock") else { return };
    let socket = stage.lab.directory().socket();
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    // The lab's folder is open to all, so that it is the socket that refuses; the program has to be, too.
    fs::set_permissions(stage.lab.directory().path(), Permissions::from_mode(0o755)).unwrap();
    let program = stage.lab.directory().path().join("dispatcher");
    fs::copy(stage::dispatcher(), &program).unwrap();
    let call = |group| {
        let mut command = Command::new(&program);
        command.arg("--socket").arg(&socket).arg("status").uid(NOBODY).gid(group).output().unwrap()
    };
    assert_refused(&call(NOBODY), 3, "error[E302]");
    assert!(call(0).status.success(), "the group may ask: {:?}", call(0));
    assert!(stage.call(&["status"]).status.success());
}

#[test]
fn second_dispatcher_is_refused_with_the_holders_name() {
    let Some(stage) = Stage::start("two") else { return };
    let directory = stage.lab.directory().clone();
    let run = |config: &Path| {
        let mut command = Command::new(stage::dispatcher());
        stage.lab.topology().dispatcher.output(command.arg("run").arg("--config").arg(config)).unwrap()
    };
    // The same again: it is running already.
    assert_refused(&run(&directory.config()), 1, "error[E403]");
    // Another one, with files of its own: the interface is taken, by a program that it names and does not replace.
    let config = fs::read_to_string(directory.config()).unwrap();
    let (files, pins) = (directory.path().to_str().unwrap(), directory.pins().to_str().unwrap());
    let config = config.replace(files, &format!("{files}/second")).replace(pins, &format!("{pins}-second"));
    let file = directory.path().join("second.toml");
    fs::write(&file, config).unwrap();
    let output = run(&file);
    assert_refused(&output, 5, "error[E102]");
    assert_refused(&output, 5, "client0");
    assert_refused(&output, 5, "`dispatcher`, of user 0");
    assert_refused(&output, 5, "fix: ");
    assert!(!Path::new(&format!("{pins}-second")).exists(), "it leaves nothing behind");
    curl::answer(stage.client(), &[&format!("http://{VIP4}/")]);
}
