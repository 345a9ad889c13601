//! WebSockets through the shop to hypercorn, a server that knows nothing of the dispatcher.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use dispatcher_lab::{Namespace, Process, addresses::VIP4, wait_until};
use dispatcher_tests::{
    Stage,
    customer::{self, Customer, Memory, Version},
    shop,
    stage::SOON,
};
use std::{fs, net::TcpStream as Socket, process::Command};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

const PORT: u16 = 8447;
/// Says the version of HTTP to requests, and the message itself to messages.
const ECHO: &str = r#"
async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["http_version"].encode()})
    else:
        raise NotImplementedError(scope["type"])
"#;

/// Starts hypercorn in a backend's namespace.
fn start(stage: &Stage, namespace: &Namespace, number: u8) -> Process {
    let (directory, certificates) = (stage.lab.directory(), stage.lab.certificates());
    let (name, pair) = (format!("hypercorn-b{number}"), certificates.backend(number));
    let mut hypercorn = Command::new("hypercorn");
    hypercorn.args(["--bind", &format!("0.0.0.0:{PORT}"), "--workers", "1", "echo:app"]).current_dir(directory.path());
    hypercorn.arg("--certfile").arg(pair.chain).arg("--keyfile").arg(pair.key);
    let process = Process::start(namespace, &mut hypercorn, directory, &name).unwrap();
    let listens = || namespace.run(|| Socket::connect(("127.0.0.1", PORT)).is_ok()).unwrap();
    wait_until("hypercorn listening", SOON, listens)
        .unwrap_or_else(|error| panic!("{error}: {}", fs::read_to_string(directory.log(&name)).unwrap()));
    process
}

/// The handshake with the key, and the answer to it, that RFC 6455 section 1.3 has.
async fn open(customer: &Customer) -> TlsStream<TcpStream> {
    let mut stream = customer.connect().await.unwrap();
    let head = "GET /cart/chat HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    let accepts = answer.to_ascii_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n");
    assert!(accepts, "{answer}");
    stream
}

/// Sends a text, and receives one: single frames of RFC 6455 section 5.2, of 126 to 65,535 bytes.
async fn echo(stream: &mut TlsStream<TcpStream>, text: &str) -> String {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    frame.extend(mask);
    frame.extend(text.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    stream.write_all(&frame).await.unwrap();
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[..2], [0x81, 126], "one whole text");
    let mut said = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
    stream.read_exact(&mut said).await.unwrap();
    String::from_utf8(said).unwrap()
}

#[test]
fn websockets_pass_and_stay_open_beside_requests() {
    let Some(mut stage) = Stage::start_with_shop("sws") else { return };
    fs::write(stage.lab.directory().path().join("echo.py"), ECHO).unwrap();
    let _servers: Vec<Process> =
        (1..).zip(&stage.lab.topology().backends).map(|(number, at)| start(&stage, at, number)).collect();
    let section = shop::section(stage.lab.certificates(), "chat", 9443, PORT, "");
    stage.lab.configure(&section);
    stage.lab.start_dispatcher().unwrap();
    stage.wait_until_available();
    let place = customer::place(stage.client());
    let to = (VIP4, 9443).into();
    let certificates = stage.lab.certificates().clone();
    let customer = |version| Customer::new(&certificates, to, version, Memory::Cookie);
    let chatter = customer(Version::Http1);
    let talking = place.spawn(async move {
        let mut sockets = Vec::new();
        for _ in 0..12 {
            sockets.push(open(&chatter).await);
        }
        for round in 0..5 {
            for (number, socket) in sockets.iter_mut().enumerate() {
                let text = format!("{number}:{round} ").repeat(1000 + 1000 * round);
                assert!(echo(socket, &text).await == text, "socket {number} in round {round}");
            }
        }
        sockets
    });
    let sockets = place.block_on(talking).unwrap();
    let upgraded = |stage: &mut Stage| -> u64 {
        ["b1", "b2", "b3"]
            .map(|name| stage.items(&["tunnel", "show", &format!("chat/{name}")])[0]["upgraded"].as_u64().unwrap())
            .iter()
            .sum()
    };
    for version in [Version::Http1, Version::Http2] {
        let answer = customer(version).get_in(&place, "/");
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"2"[..]), "the tunnels speak HTTP/2");
    }
    assert_eq!(upgraded(&mut stage), 12);
    drop(sockets);
    wait_until("the end of all of them", SOON, || upgraded(&mut stage) == 0).unwrap();
}
