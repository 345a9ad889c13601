//! What the control socket promises to a daemon: whatever a client does, the daemon gets requests that it knows, or none.

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::{
    config::AttachMode,
    control::{
        api::FlowQuery,
        client::{Client, ClientError},
    },
    core::model::Change,
};

/// A server whose daemon answers to every request which one it was.
struct Fixture {
    path: PathBuf,
    _place: TempDir,
    _tasks: JoinSet<()>,
}

impl Fixture {
    /// Must be called within a runtime.
    fn start() -> Self {
        let mut fixture = Self::start_without_daemon();
        let (calls_in, mut calls) = mpsc::channel::<Call>(4);
        let server = Server::bind(&fixture.path).unwrap();
        fixture._tasks.spawn(server.serve(calls_in));
        fixture._tasks.spawn(async move {
            while let Some((request, answer)) = calls.recv().await {
                answer.send(Response::Done { notes: vec![format!("{request:?}")] }).ok();
            }
        });
        fixture
    }

    fn start_without_daemon() -> Self {
        let place = tempfile::tempdir().unwrap();
        Self { path: place.path().join("control.sock"), _place: place, _tasks: JoinSet::new() }
    }

    async fn connect(&self) -> BufReader<UnixStream> {
        BufReader::new(UnixStream::connect(&self.path).await.unwrap())
    }

    /// Sends `line` on a connection of its own and returns the answer; nothing if the server just closes.
    async fn say(&self, line: &[u8]) -> Option<Value> {
        let mut stream = self.connect().await;
        stream.write_all(line).await.unwrap();
        hear(&mut stream).await
    }
}

async fn hear(stream: &mut BufReader<UnixStream>) -> Option<Value> {
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
}

fn failure(answer: &Value) -> (&str, &str) {
    let body = &answer["body"];
    assert_eq!(body["response"], "failed", "{answer}");
    (body["code"].as_str().unwrap(), body["message"].as_str().unwrap())
}

#[tokio::test]
async fn a_connection_carries_one_request_after_another() {
    let fixture = Fixture::start();
    let mut stream = fixture.connect().await;
    for name in ["status", "services", "drops"] {
        let line = format!("{{\"version\":1,\"body\":{{\"request\":\"{name}\"}}}}\n");
        stream.write_all(line.as_bytes()).await.unwrap();
        let answer = hear(&mut stream).await.unwrap();
        assert_eq!(answer["version"], 1);
        assert_eq!(answer["body"]["notes"][0].as_str().unwrap().to_lowercase(), name);
    }
}

#[tokio::test]
async fn what_is_no_request_is_answered_and_the_connection_goes_on() {
    let fixture = Fixture::start();
    let mut stream = fixture.connect().await;
    let nonsense: [&[u8]; 6] = [
        b"\n",
        b"hello\n",
        b"\xff\xfe\n",
        b"{\"version\":1}\n",
        b"{\"version\":1,\"body\":{\"request\":\"dance\"}}\n",
        b"{\"version\":1,\"body\":{\"request\":\"flows\",\"limit\":-1}}\n",
    ];
    for line in nonsense {
        stream.write_all(line).await.unwrap();
        let answer = hear(&mut stream).await.unwrap();
        assert_eq!(failure(&answer), ("E304", "the request is malformed"), "{line:?}");
    }
    stream.write_all(b"{\"version\":1,\"body\":{\"request\":\"status\"}}\n").await.unwrap();
    assert_eq!(hear(&mut stream).await.unwrap()["body"]["response"], "done");
}

#[tokio::test]
async fn another_version_is_refused_by_its_number() {
    let fixture = Fixture::start();
    let answer = fixture.say(b"{\"version\":2,\"question\":[1,2,3]}\n").await.unwrap();
    assert_eq!(failure(&answer), ("E304", "the request has version 2, this daemon speaks version 1"));
}

#[tokio::test]
async fn what_breaks_a_rule_does_not_reach_the_daemon() {
    let fixture = Fixture::start();
    let change = Change::SetBackend { service: "a".into(), backend: "b".into(), state: None, weight: Some(2000) };
    let cases = [
        (Request::Change { change }, "weight 2000 is out of range, expected 0 to 1000"),
        (
            Request::Attach { interface: "../x".into(), mode: AttachMode::Native },
            "`../x` is no interface name: it takes 1 to 15 bytes without spaces, `/` and `:`",
        ),
        (
            Request::Detach { interface: Some(String::new()) },
            "`` is no interface name: it takes 1 to 15 bytes without spaces, `/` and `:`",
        ),
        (
            Request::Flows(FlowQuery { limit: u32::MAX, ..FlowQuery::default() }),
            "limit 4294967295 is out of range, expected 1 to 100000",
        ),
    ];
    for (request, message) in cases {
        let line = format!("{}\n", json!({ "version": 1, "body": request }));
        let answer = fixture.say(line.as_bytes()).await.unwrap();
        assert_eq!(failure(&answer), ("E401", message));
    }
}

#[tokio::test]
async fn a_line_has_an_end_or_is_refused() {
    let fixture = Fixture::start();
    let longest = vec![b' '; MAX_LINE];
    let answer = fixture.say(&[&longest[..], b"\n"].concat()).await.unwrap();
    assert_eq!(failure(&answer).1, "the request is malformed", "the longest line is read");
    let answer = fixture.say(&[&longest[..], b" "].concat()).await.unwrap();
    assert_eq!(failure(&answer), ("E304", "a request has at most 65536 bytes"));
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_so() {
    let fixture = Fixture::start();
    let mut held = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut stream = fixture.connect().await;
        stream.write_all(b"{\"version\":1,\"body\":{\"request\":\"status\"}}\n").await.unwrap();
        assert_eq!(hear(&mut stream).await.unwrap()["body"]["response"], "done");
        held.push(stream);
    }
    let answer = hear(&mut fixture.connect().await).await.unwrap();
    assert_eq!(failure(&answer), ("E406", "the daemon serves 32 control connections already"));
    // The blocking client, whose request nobody reads, hears it too.
    let path = fixture.path.clone();
    let heard =
        tokio::task::spawn_blocking(move || Client::connect(&path).unwrap().call(Request::Status)).await.unwrap();
    assert!(matches!(heard, Ok(Response::Failed(_)) | Err(ClientError::Closed)), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_left() {
    let fixture = Fixture::start();
    let in_time = CLIENT_TIMEOUT + Duration::from_secs(1);
    let mut silent = fixture.connect().await;
    assert_eq!(timeout(in_time, hear(&mut silent)).await, Ok(None));
    let mut slow = fixture.connect().await;
    slow.write_all(b"{\"version\":1,").await.unwrap();
    assert_eq!(timeout(in_time, hear(&mut slow)).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_does_not_answer_is_told_of() {
    let mut fixture = Fixture::start_without_daemon();
    let (calls_in, mut calls) = mpsc::channel::<Call>(4);
    fixture._tasks.spawn(Server::bind(&fixture.path).unwrap().serve(calls_in));
    let in_time = ANSWER_TIMEOUT + Duration::from_secs(1);
    let asked = fixture.say(b"{\"version\":1,\"body\":{\"request\":\"status\"}}\n");
    let answer = timeout(in_time, asked).await.unwrap().unwrap();
    assert_eq!(failure(&answer), ("E406", "the daemon did not answer within 30 s"));
    drop(calls.recv().await);
    let mut stream = fixture.connect().await;
    stream.write_all(b"{\"version\":1,\"body\":{\"request\":\"status\"}}\n").await.unwrap();
    drop(calls.recv().await.unwrap());
    assert_eq!(failure(&hear(&mut stream).await.unwrap()), ("E406", "the daemon is ending"));
}

#[tokio::test]
async fn the_server_ends_with_the_daemon_and_takes_its_socket_along() {
    let fixture = Fixture::start_without_daemon();
    let (calls_in, calls) = mpsc::channel::<Call>(4);
    let serving = tokio::spawn(Server::bind(&fixture.path).unwrap().serve(calls_in));
    drop(calls);
    serving.await.unwrap();
    assert!(!fixture.path.exists());
    assert!(matches!(Client::connect(&fixture.path), Err(ClientError::NoDaemon(_))));
}
