//! First packets: none is lost, none goes to two backends, and none overtakes another.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

use dispatcher_lab::{
    BACKEND_INTERFACE, CLIENT_INTERFACE, Namespace, Signal,
    addresses::{CLIENT_HOSTS, VIP4, VIP6, backend4, client4, client6},
    wait_until,
};
use dispatcher_tests::{
    Stage,
    http::Answer,
    kernel,
    stage::SOON,
    syn::{self, Segment, Wire},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
};

const CLIENTS: u16 = 2000;

/// New clients, each with an address that nobody used before.
fn new_clients() -> impl Iterator<Item = SocketAddrV4> {
    (0..CLIENTS).map(|number| {
        let [high, low] = number.to_be_bytes();
        SocketAddrV4::new(Ipv4Addr::new(10, 200, high, low), 1024 + number)
    })
}

#[test]
fn two_thousand_syns_in_one_burst_reach_one_backend_each_and_all_are_answered() {
    let Some(mut stage) = Stage::start("syn") else { return };
    let vip = SocketAddrV4::new(VIP4, 80);
    let topology = stage.lab.topology();
    let client = Wire::tap(&topology.client, CLIENT_INTERFACE);
    let taps: Vec<Wire> = topology.backends.iter().map(|at| Wire::tap(at, BACKEND_INTERFACE)).collect();
    let gateway = Wire::tap(&topology.dispatcher, "client0").mac();
    let (upcalls, picked) = (stage.status("upcalls"), stage.count("picked_in_kernel"));

    for from in new_clients() {
        client.send(&syn::frame((client.mac(), gateway), from, vip));
    }

    let mut answered = BTreeSet::new();
    wait_until("an answer to every client", SOON, || {
        let answers = client.segments().into_iter().filter(|segment| segment.is_answer && segment.from == vip);
        answered.extend(answers.map(|segment| segment.to));
        answered.len() >= usize::from(CLIENTS)
    })
    .unwrap_or_else(|error| panic!("{error}: {} were answered; {:?}", answered.len(), stage.items(&["drops"])));
    assert_eq!(answered, new_clients().collect());

    let mut reached = BTreeMap::<SocketAddrV4, Vec<u8>>::new();
    for (number, tap) in (1..).zip(&taps) {
        let to = SocketAddrV4::new(backend4(number), 8080);
        // The bridge shows a backend frames for the others too, while it learns where they are.
        let syns = tap.segments().into_iter().filter(|segment| !segment.is_answer && segment.to == to);
        syns.for_each(|Segment { from, .. }| reached.entry(from).or_default().push(number));
    }
    let served: BTreeSet<u8> = reached.values().flatten().copied().collect();
    assert_eq!(served, (1..=3).collect());
    for from in new_clients() {
        assert_eq!(reached[&from].len(), 1, "the SYN of {from} reached {:?}", reached[&from]);
    }
    let picked = stage.count("picked_in_kernel") - picked;
    assert_eq!(stage.status("upcalls") - upcalls + picked, u64::from(CLIENTS));
    assert_eq!(stage.count("daemon_inject_failed"), 0);
}

/// Datagrams of one client that leave back to back.
const DATAGRAMS: usize = 5;

/// Sockets of every address of the client's host, a number of each.
fn sockets(client: &Namespace, to: SocketAddr, of_each: usize) -> Vec<UdpSocket> {
    let open = |from: IpAddr| -> std::io::Result<UdpSocket> {
        let socket = UdpSocket::bind((from, 0))?;
        socket.set_read_timeout(Some(SOON))?;
        socket.connect(to)?;
        Ok(socket)
    };
    let address = |host| if to.is_ipv4() { IpAddr::V4(client4(host)) } else { client6(host).into() };
    let hosts = CLIENT_HOSTS.flat_map(|host| std::iter::repeat_n(address(host), of_each));
    client.run(|| hosts.map(open).collect::<Result<_, _>>()).unwrap().unwrap()
}

fn send(socket: &UdpSocket, number: usize) {
    let text = number.to_string();
    assert_eq!(socket.send(text.as_bytes()).unwrap(), text.len());
}

/// The answers to a client's datagrams, in the order in which its backend saw them.
fn answers(socket: &UdpSocket) -> Vec<Answer> {
    let mut buffer = [0; 1024];
    let mut receive = |number| {
        let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("answer {number}: {error}"));
        Answer::read(&buffer[..length])
    };
    let mut answers: Vec<Answer> = (0..DATAGRAMS).map(&mut receive).collect();
    answers.sort_by_key(|answer| answer.requests);
    answers
}

/// All datagrams of a client went to one backend.
fn assert_one_backend(answers: &[Answer]) {
    assert!(answers.iter().all(|answer| answer.backend == answers[0].backend), "{answers:?}");
}

fn assert_in_order(answers: &[Answer]) {
    assert_one_backend(answers);
    let order: Vec<usize> = answers.iter().map(|answer| answer.echo.parse().unwrap()).collect();
    assert_eq!(order, (0..DATAGRAMS).collect::<Vec<_>>(), "{answers:?}");
}

#[test]
fn datagrams_that_outrun_the_daemon_reach_one_backend_in_order() {
    let Some(mut stage) = Stage::start("udp") else { return };
    for vip in [SocketAddr::new(VIP4.into(), 53), SocketAddr::new(VIP6.into(), 53)] {
        let (locked, held) = (stage.count("upcall_locked"), stage.count("upcall_held"));
        for _round in 0..5 {
            let picked = stage.count("picked_in_kernel");
            let sockets = sockets(stage.client(), vip, 16);
            // In turn, so that a client's next datagram comes while the daemon is busy with all the others.
            (0..DATAGRAMS).for_each(|number| sockets.iter().for_each(|socket| send(socket, number)));
            let all: Vec<_> = sockets.iter().map(answers).collect();
            if stage.count("picked_in_kernel") == picked {
                all.iter().for_each(|answers| assert_in_order(answers));
            } else {
                // The machine kept the daemon from running: order yields to delivery.
                all.iter().for_each(|answers| assert_one_backend(answers));
            }
        }
        assert!(stage.count("upcall_locked") > locked, "no datagram met its client's lock: nothing was tested");
        assert!(stage.count("upcall_held") > held, "no datagram met a held flow: nothing was tested");
    }
}

#[test]
fn five_datagrams_before_the_lock_is_removed_reach_one_backend_in_order() {
    let Some(mut stage) = Stage::start("lock") else { return };
    let vip = SocketAddr::new(VIP4.into(), 53);
    let mut rounds = 0;
    wait_until("five rounds with the daemon's heartbeat in time", SOON, || {
        let (locked, picked) = (stage.count("upcall_locked"), stage.count("picked_in_kernel"));
        let sockets = sockets(stage.client(), vip, 1);
        let daemon = stage.lab.daemon().process();
        // What stands still removes no lock.
        daemon.signal(Signal::SIGSTOP).unwrap();
        sockets.iter().for_each(|socket| (0..DATAGRAMS).for_each(|number| send(socket, number)));
        daemon.signal(Signal::SIGCONT).unwrap();
        let all: Vec<_> = sockets.iter().map(answers).collect();
        all.iter().for_each(|answers| assert_one_backend(answers));
        if stage.count("picked_in_kernel") == picked {
            all.iter().for_each(|answers| assert_in_order(answers));
            let locked = stage.count("upcall_locked") - locked;
            assert_eq!(locked, u64::try_from(sockets.len() * (DATAGRAMS - 1)).unwrap());
            rounds += 1;
        }
        rounds == 5
    })
    .unwrap();
    assert!(stage.items(&["lock", "list"]).is_empty());
}

#[test]
fn stalled_daemon_moves_no_flow_that_the_kernel_has_picked() {
    let Some(mut stage) = Stage::start("stall") else { return };
    let vip = SocketAddr::new(VIP4.into(), 53);
    for _round in 0..3 {
        let sockets = sockets(stage.client(), vip, 4);
        let picked = |stage: &Stage| kernel::counter(stage.lab.directory(), "picked_in_kernel");
        let before = picked(&stage);
        stage.lab.daemon().process().signal(Signal::SIGSTOP).unwrap();
        // The first datagrams go up and wait there.
        sockets.iter().for_each(|socket| send(socket, 0));
        // Once its heartbeat is late the kernel picks, the same flows among others.
        let probe = stage.client().run(|| UdpSocket::bind((client4(9), 0)).unwrap()).unwrap();
        wait_until("a pick in the kernel", SOON, || {
            probe.send_to(b"probe", vip).unwrap();
            picked(&stage) > before
        })
        .unwrap();
        (1..DATAGRAMS).for_each(|number| sockets.iter().for_each(|socket| send(socket, number)));
        stage.lab.daemon().process().signal(Signal::SIGCONT).unwrap();
        let before: Vec<_> = sockets.iter().map(answers).collect();
        before.iter().for_each(|answers| assert_one_backend(answers));
        // And so it stays.
        sockets.iter().for_each(|socket| (0..DATAGRAMS).for_each(|number| send(socket, number)));
        for (socket, before) in sockets.iter().zip(&before) {
            assert_one_backend(&[before.clone(), answers(socket)].concat());
        }
    }
}
