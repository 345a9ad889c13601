//! A daemon that starts over what another left: flows live on, and what nobody wants any more goes.

use dispatcher_common::{
    backend::{Backend, state},
    client::ClientKey,
    client_lock::ClientLock,
    service::Service,
};
use dispatcher_user::core::{
    dispatcher::{Adopted, Dispatcher},
    event::Command,
    model::{AdminState, Refusal, Scheduler, ServiceSpec},
};

use crate::{
    kernel::Fate,
    scenario::{SETTINGS, Scenario, backend, client, web},
};

const VIP: &str = "203.0.113.10:80";

fn running() -> Scenario {
    let mut scenario = Scenario::new(vec![web(Scheduler::Rr, 3)]);
    (0..3).for_each(|number| scenario.reach(number, true));
    scenario
}

#[test]
fn flows_live_on_over_a_restart() {
    let mut scenario = running();
    let before: Vec<_> = (0..3).map(|number| scenario.row(number).unwrap()).collect();
    for port in 1..4 {
        assert_eq!(scenario.send(client(2, port), VIP, 0), Fate::WentUp);
    }
    let homes: Vec<_> = scenario.take_sent().iter().map(|(_, to)| *to).collect();
    let id = scenario.service(VIP, true).unwrap().id;
    // Another order of the configuration makes no difference.
    let mut wanted = web(Scheduler::Lc, 3);
    wanted.backends.reverse();
    let mut scenario = Scenario::over(scenario.tables, vec![wanted]);
    assert_eq!(scenario.service(VIP, true).unwrap().id, id);
    let after: Vec<_> = (0..3).map(|number| scenario.row(number).unwrap()).collect();
    assert_eq!(after, before, "the last known neighbours count until something is heard");
    for (port, home) in (1..4).zip(homes) {
        let Fate::Forwarded { frame, .. } = scenario.send(client(2, port), VIP, 1) else { panic!("{port} went up") };
        assert_eq!(crate::frames::ends(&frame).1, home);
    }
}

#[test]
fn a_backend_that_is_gone_from_the_configuration_keeps_nothing_but_its_generation() {
    let mut scenario = running();
    scenario.send(client(2, 1), VIP, 0);
    let (gone, row) = scenario.row(0).unwrap();
    assert_eq!(scenario.take_sent()[0].1, backend(0).address);
    let wanted = ServiceSpec { backends: vec![backend(1), backend(2)], ..web(Scheduler::Rr, 0) };
    let mut scenario = Scenario::over(scenario.tables, vec![wanted]);
    let vacant = Backend { generation: row.generation, ..Backend::default() };
    assert_eq!(scenario.tables.backends[usize::from(gone)], vacant);
    // Its flow is picked anew.
    assert_eq!(scenario.send(client(2, 1), VIP, 1), Fate::WentUp);
    assert_ne!(scenario.take_sent()[0].1, backend(0).address);
    // Back again it is another backend: no flow of the old one is taken for its.
    let wanted = web(Scheduler::Rr, 3);
    let scenario = Scenario::over(scenario.tables, vec![wanted]);
    let (back, row) = scenario.row(0).unwrap();
    assert!(back != gone || row.generation != vacant.generation, "{back} is taken for the one that was there");
}

#[test]
fn locks_and_unwanted_services_go() {
    let scenario = running();
    let key = ClientKey { addr: [9; 16], service: 0, pad: [0; 2] };
    scenario.tables.locks.borrow_mut().insert(key, ClientLock::default());
    let other = ServiceSpec { name: "other".into(), vip: "203.0.113.99:80".parse().unwrap(), ..web(Scheduler::Rr, 1) };
    let scenario = Scenario::over(scenario.tables, vec![other]);
    assert_eq!(scenario.locks(), []);
    assert_eq!(scenario.service(VIP, true), None);
    let service = scenario.service("203.0.113.99:80", true).unwrap();
    let rows = scenario.tables.backends.iter().filter(|row| row.state != state::VACANT);
    let rows: Vec<_> = rows.map(|row| (row.service, row.addr)).collect();
    assert_eq!(rows, [(service.id, crate::oracle::mapped(backend(0).address.ip()))]);
}

#[test]
fn what_an_operator_changed_counts_from_the_first_moment() {
    let scenario = running();
    let mut wanted = web(Scheduler::Rr, 3);
    (wanted.backends[0].state, wanted.backends[1].weight) = (AdminState::Drain, 0);
    let mut scenario = Scenario::over(scenario.tables, vec![wanted]);
    for port in 1..10 {
        scenario.send(client(2, port), VIP, 0);
    }
    assert!(scenario.take_sent().iter().all(|(_, to)| *to == backend(2).address));
}

#[test]
fn entries_that_make_no_sense_are_replaced() {
    let mut scenario = running();
    let keys: Vec<_> = scenario.tables.services.keys().copied().collect();
    for id in [9999, u16::MAX] {
        scenario.tables.services.insert(keys[0], Service { id, ..Service::default() });
        scenario = Scenario::over(scenario.tables, vec![web(Scheduler::Rr, 2)]);
        let service = scenario.service(VIP, true).unwrap();
        assert!(service.id < 256 && scenario.row(1).unwrap().1.service == service.id, "{service:?}");
        (0..2).for_each(|number| scenario.reach(number, true));
        scenario.send(client(2, id), VIP, 0);
        assert_eq!(scenario.take_sent().len(), 1);
    }
}

#[test]
fn two_entries_with_one_id_become_two_services() {
    let mut scenario = running();
    let other = ServiceSpec { name: "other".into(), vip: "203.0.113.99:80".parse().unwrap(), ..web(Scheduler::Rr, 1) };
    let entry = scenario.service(VIP, true).unwrap();
    scenario.tables.services.insert(crate::oracle::service_key(other.vip, true), entry);
    let scenario = Scenario::over(scenario.tables, vec![web(Scheduler::Rr, 3), other]);
    let ids = [VIP, "203.0.113.99:80"].map(|vip| scenario.service(vip, true).unwrap().id);
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn a_takeover_that_is_refused_asks_for_nothing() {
    let twice = vec![web(Scheduler::Rr, 1), web(Scheduler::Rr, 1)];
    let mut commands = vec![Command::RemoveLock(ClientKey::default())];
    let adopted = Adopted { locks: vec![ClientKey::default()], ..Adopted::default() };
    let refusal = Dispatcher::adopt(SETTINGS, 1, adopted, twice, &mut commands).unwrap_err();
    assert_eq!(refusal, Refusal::ServiceExists("web".into()));
    assert_eq!(commands.len(), 1, "only what was there before");
}
