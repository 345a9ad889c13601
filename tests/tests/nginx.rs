//! nginx as a backend that knows nothing of the dispatcher.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use dispatcher_lab::{Namespace, Process, RunDirectory, addresses::VIP4, wait_until};
use dispatcher_tests::{
    Stage, curl,
    stage::{NewService, SOON},
};
use std::{collections::BTreeSet, fs, net::TcpStream, process::Command};

const PORT: u16 = 8088;
const LARGE: usize = 64 << 20;

/// Starts nginx in a backend's namespace; it answers with the backend's name, and has one large file.
fn start(namespace: &Namespace, directory: &RunDirectory, number: usize) -> Process {
    let name = format!("nginx-b{number}");
    let prefix = directory.path().join(&name);
    fs::create_dir(&prefix).unwrap();
    let config = format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n  access_log off;\n  \
         sendfile on;\n  keepalive_timeout 60;\n  server {{\n    listen {PORT} backlog=1024;\n    \
         root {};\n    location = / {{ return 200 \"b{number}\"; }}\n  }}\n}}\n",
        directory.path().display()
    );
    fs::write(prefix.join("nginx.conf"), config).unwrap();
    let mut nginx = Command::new("nginx");
    nginx.arg("-p").arg(&prefix).args(["-c", "nginx.conf", "-e", "stderr"]);
    let process = Process::start(namespace, &mut nginx, directory, &name).unwrap();
    let listens = || namespace.run(|| TcpStream::connect(("127.0.0.1", PORT)).is_ok()).unwrap();
    wait_until("nginx listening", SOON, listens)
        .unwrap_or_else(|error| panic!("{error}: {}", fs::read_to_string(directory.log(&name)).unwrap()));
    process
}

#[test]
fn nginx_serves_kept_connections_and_large_files_through_the_dispatcher() {
    let Some(mut stage) = Stage::start("ngx") else { return };
    let directory = stage.lab.directory().clone();
    // Every eight bytes differ, so that nothing lost, doubled or swapped goes unseen.
    let file: Vec<u8> = (0..LARGE as u64 / 8).flat_map(u64::to_be_bytes).collect();
    fs::write(directory.path().join("large"), &file).unwrap();
    let _servers: Vec<Process> =
        (1..).zip(&stage.lab.topology().backends).map(|(number, at)| start(at, &directory, number)).collect();
    let vip = (VIP4, 8003).into();
    stage.add_service(&NewService {
        name: "files",
        vip,
        protocol: "tcp",
        options: &[],
        backend_port: PORT,
        weights: [100; 3],
    });

    let url = format!("http://{vip}/");
    let names: BTreeSet<String> = (0..6).map(|_| curl::curl(stage.client(), &[&url])).collect();
    assert_eq!(names, BTreeSet::from(["b1", "b2", "b3"].map(str::to_owned)));

    // Five requests on one connection: the first connects, all meet the same backend, and the daemon hears of one flow.
    let upcalls = stage.status("upcalls");
    let five = vec![url.as_str(); 5];
    let report = curl::curl(stage.client(), &[&["--write-out", " %{num_connects}\n"], five.as_slice()].concat());
    let lines: Vec<(&str, &str)> = report.lines().map(|line| line.split_once(' ').unwrap()).collect();
    assert_eq!(lines.iter().map(|(_, connects)| *connects).collect::<String>(), "10000", "{report}");
    assert!(lines.iter().all(|(name, _)| *name == lines[0].0), "{report}");
    assert_eq!(stage.status("upcalls") - upcalls, 1);

    for number in 0..3 {
        let path = directory.path().join(format!("received-{number}"));
        let arguments = ["--output", path.to_str().unwrap(), &format!("{url}large")];
        curl::curl(stage.client(), &arguments);
        assert!(fs::read(&path).unwrap() == file, "download {number} differs from the file");
    }
}
