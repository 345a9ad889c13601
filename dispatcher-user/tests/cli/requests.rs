//! The commands on sessions, tunnels and QoS classes, and on files of services of mode `secure`.

use std::fs;

use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

use super::{Fake, dispatcher, told};

const ID: &str = "01010101010101010101010101010101";

#[test]
fn requests_help_texts() {
    let commands: &[&[&str]] = &[
        &["session", "-h"],
        &["session", "list", "-h"],
        &["session", "move", "-h"],
        &["tunnel", "-h"],
        &["tunnel", "reset", "-h"],
        &["qos", "-h"],
        &["qos", "set", "-h"],
        &["backend", "drain", "-h"],
    ];
    let texts: String = commands.iter().map(|arguments| told(dispatcher(arguments), arguments)).collect();
    insta::assert_snapshot!(texts);
}

#[test]
fn requests_tables() {
    let calls: &[&[&str]] = &[
        &["session", "list"],
        &["session", "list", "--limit", "2"],
        &["session", "list", "-o", "wide"],
        &["session", "show", ID],
        &["session", "show", "02020202020202020202020202020202"],
        &["tunnel", "list"],
        &["tunnel", "list", "-o", "wide"],
        &["tunnel", "show", "shop/b1"],
        &["qos", "list"],
        &["qos", "list", "-o", "wide"],
    ];
    insta::assert_snapshot!(Fake::start().session(calls));
}

#[test]
fn requests_json() {
    let fake = Fake::start();
    let calls: &[&[&str]] =
        &[&["session", "list"], &["session", "show", ID], &["tunnel", "show", "shop/b1"], &["qos", "list"]];
    let mut text = String::new();
    for arguments in calls {
        let output = fake.command(arguments).args(["-o", "json", "-q"]).output().unwrap();
        assert!(output.stderr.is_empty());
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        text += &format!("$ dispatcher {} -o json\n{document:#}\n\n", arguments.join(" "));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn requests_ask_for_what_they_say() {
    let fake = Fake::start();
    let calls: &[&[&str]] = &[
        &["session", "list", "--service", "shop", "--limit", "5"],
        &["session", "list", "--backend", "shop/b1"],
        &["session", "move", ID, "shop/b2"],
        &["session", "remove", ID],
        &["backend", "drain", "shop/b1", "--move"],
        &["tunnel", "list", "shop"],
        &["tunnel", "reset", "shop/b1"],
        &["tunnel", "reset", "shop/b1", "2"],
        &["qos", "set", "gold", "priority=0", "weight=8", "share=20%", "rate=100/s", "client_rate=none"],
        &["qos", "set", "gold", "timeout=500ms", "entries=10", "bytes=1MiB", "entries=20"],
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
fn requests_mistakes() {
    let fake = Fake::start();
    let text = fake.session(&[
        &["session", "show", "09090909090909090909090909090909"],
        &["qos", "set", "iron", "weight=1"],
        &["session", "show", "0909"],
        &["session", "move", ID, "b2"],
        &["session", "list", "--service", "shop", "--backend", "shop/b1"],
        &["tunnel", "reset", "shop"],
        &["tunnel", "reset", "shop/b1", "first"],
        &["qos", "set", "gold"],
        &["qos", "set", "gold", "priority=8"],
        &["qos", "set", "gold", "rate=fast"],
        &["qos", "set", "gold", "colour=gold"],
        &["service", "add", "shop", "--vip", "203.0.113.10:443/tcp", "--affinity", "sesion"],
    ]);
    insta::assert_snapshot!(text);
    assert_eq!(fake.asked.try_iter().count(), 2, "mistakes in a command reach no daemon");
}

#[test]
fn requests_files() {
    let place = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(place.path().join(name), text).unwrap();
    let shop = |certificate: &str| {
        format!(
            "[[interface]]\nname = \"eth0\"\n[[service]]\nname = \"shop\"\nvip = \"203.0.113.10:443\"\n\
             protocol = \"tcp\"\nmode = \"secure\"\naffinity = \"session\"\n[service.tls]\n\
             certificates = [{{ chain = \"{certificate}\", key = \"shop.key\" }}]\n[service.tunnels]\nca = \"ca.pem\"\n\
             [[qos]]\nname = \"gold\"\npriority = 0\nmatch = {{ header = \"x-tier: gold\" }}\n"
        )
    };
    let key = KeyPair::generate().unwrap();
    write("shop.key", &key.serialize_pem());
    write("old.pem", &certificate(&key, 2020));
    write("ca.pem", &certificate(&KeyPair::generate().unwrap(), 2099));
    write("good.pem", &certificate(&key, 2099));
    write("other.pem", &certificate(&KeyPair::generate().unwrap(), 2099));
    for name in ["good", "old", "other", "none"] {
        write(&format!("{name}.toml"), &shop(&format!("{name}.pem")));
    }
    let calls: &[&[&str]] = &[
        &["check", "good.toml"],
        &["check", "old.toml"],
        &["check", "other.toml"],
        &["check", "none.toml"],
        &["run", "--config", "other.toml"],
        &["config", "dump", "none.toml"],
    ];
    let text = calls.iter().map(|arguments| {
        let mut command = dispatcher(arguments);
        command.current_dir(place.path());
        told(command, arguments).replace(&place.path().display().to_string(), "/PLACE")
    });
    insta::assert_snapshot!(text.collect::<String>());
}

fn certificate(key: &KeyPair, until: i32) -> String {
    let mut params = CertificateParams::new(vec!["shop.example.org".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "shop");
    (params.not_before, params.not_after) = (date_time_ymd(2010, 1, 1), date_time_ymd(until, 1, 1));
    params.self_signed(key).unwrap().pem()
}
