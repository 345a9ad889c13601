//! The dispatcher's own program, loaded as the daemon loads it, with flows written as the daemon writes them.

use super::frames::Link;
use anyhow::{Context as _, Result};
use aya::{Ebpf, programs::ProgramFd};
use dispatcher_common::{
    address::Family as _,
    backend::{self, Backend},
    flow::{Arrival, Assignment, FlowKey, state},
    service::{Service, forward},
};
use dispatcher_user::{
    core::{event::Command, lookup::Lookup as _},
    datapath::{load, pin::PinDirectory, tables::Tables},
};
use std::{net::SocketAddrV4, path::Path};

/// The ID of the one service.
const SERVICE: u16 = 1;

/// A loaded program and its tables. Nothing stays pinned: a pin folder without links removes itself.
pub(super) struct Real {
    ebpf: Ebpf,
    tables: Tables,
}

impl Real {
    /// Loads the program with flow tables of that capacity, made in a pin folder of that name.
    pub(super) fn load(name: &str, flows: u32) -> Result<Self> {
        let pins = PinDirectory::open(&Path::new("/sys/fs/bpf").join(name))?;
        let mut ebpf = load::load(&pins, flows)?;
        let tables = Tables::take(&mut ebpf)?;
        Ok(Self { ebpf, tables })
    }

    /// The program that is attached to interfaces.
    pub(super) fn program(&mut self) -> Result<ProgramFd> {
        let program = load::program(&mut self.ebpf, load::ATTACHED)?;
        Ok(program.fd()?.try_clone()?)
    }

    /// Makes a backend that frames reach through `ifindex`.
    pub(super) fn write_backend(&mut self, id: u16, at: SocketAddrV4, link: Link, ifindex: u32) -> Result<Backend> {
        let backend = Backend {
            addr: at.ip().octets().mapped(),
            port: at.port(),
            ifindex,
            mac: link.destination,
            source_mac: link.source,
            weight: 1,
            state: backend::state::READY,
            health: backend::health::UP,
            service: SERVICE,
            ..Backend::default()
        };
        self.tables.carry_out(&Command::WriteBackend(id, backend))?;
        self.tables.open_port(ifindex).context("the port cannot be opened")?;
        Ok(backend)
    }

    /// Writes both entries of an established flow that came by `arrival`.
    pub(super) fn write_flow(&mut self, key: &FlowKey<[u8; 4]>, to: (u16, &Backend), arrival: &Arrival) -> Result<()> {
        let service = Service { id: SERVICE, forward: forward::NAT, ..Service::default() };
        let assignment = Assignment::new(key, arrival, &service, to);
        let entry = assignment.towards_backend(state::ESTABLISHED);
        self.tables.carry_out(&Command::WriteFlow4(*key, entry))?;
        if let Some((key, entry)) = assignment.towards_client() {
            self.tables.carry_out(&Command::WriteFlow4(key, entry))?;
        }
        Ok(())
    }

    /// Packets and bytes that a flow's entry has counted.
    pub(super) fn counted(&self, key: &FlowKey<[u8; 4]>) -> Option<(u64, u64)> {
        self.tables.flow4(key).map(|flow| (flow.packets, flow.bytes))
    }
}
