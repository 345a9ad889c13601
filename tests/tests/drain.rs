//! A backend that drains finishes what it has and is given nothing new.

use dispatcher_lab::{
    addresses::{VIP4, client4},
    wait_until,
};
use dispatcher_tests::{
    Stage,
    curl::{self, Download, Downloads},
    http,
    stage::SOON,
};

#[test]
fn draining_backend_keeps_existing_flows() {
    let Some(mut stage) = Stage::start("drn") else { return };
    let url = format!("http://{VIP4}/bytes/600000?rate=60000");
    let mut downloads = Downloads::start(stage.client(), &url, 100);
    wait_until("hundred downloads", SOON, || stage.picks("web").values().sum::<u64>() >= 100).unwrap();
    assert!(stage.flows("web")["b2"] >= 30, "{:?}", stage.flows("web"));

    stage.done(&["backend", "drain", "web/b2"]);
    let before = stage.picks("web");
    for number in 0..60 {
        let answer = curl::answer(stage.client(), &[&format!("http://{VIP4}/")]);
        assert_ne!(answer.backend, "b2", "connection {number} reached the backend that drains");
    }
    assert!(downloads.are_running(), "the downloads were to outlast this");
    let after = stage.picks("web");
    assert_eq!(after["b2"], before["b2"]);
    assert_eq!(after["b1"] + after["b3"], before["b1"] + before["b3"] + 60);
    assert_eq!(downloads.finish(), vec![Download::whole(600_000); 100]);

    stage.done(&["backend", "ready", "web/b2"]);
    let answers = http::hold(stage.client(), (VIP4, 80).into(), None, 9);
    assert!(answers.iter().any(|connection| connection.answer.backend == "b2"), "it is given flows again");
}

#[test]
fn backend_in_maintenance_gets_nothing_and_its_flows_are_picked_anew() {
    let Some(mut stage) = Stage::start("mnt") else { return };
    let connections = http::hold(stage.client(), (VIP4, 80).into(), None, 9);
    let of_b2: Vec<_> = connections.iter().filter(|connection| connection.answer.backend == "b2").collect();
    assert_eq!(of_b2.len(), 3);
    stage.done(&["backend", "maint", "web/b2"]);
    // Another backend knows nothing of the connection and resets it.
    for connection in of_b2 {
        let error = connection.ask().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    for connection in connections.iter().filter(|connection| connection.answer.backend != "b2") {
        assert_eq!(connection.ask().unwrap().backend, connection.answer.backend);
    }
    let answers = http::hold(stage.client(), (VIP4, 80).into(), Some(client4(3).into()), 30);
    assert!(answers.iter().all(|connection| connection.answer.backend != "b2"));
}
