//! Writes a configuration as a file that reads back as the same configuration, every default spelled out.

mod qos;
mod secure;

use std::time::Duration;

use serde::Serialize;

use self::{qos::ClassSection, secure::SecureSections};
use super::{
    Config, Daemon, Interface,
    words::{ServiceMode, Word},
};
use crate::core::model::{BackendSpec, ServiceSpec};

/// Writes `config` as TOML.
#[must_use]
pub fn dump(config: &Config) -> String {
    // Where no request is read, a default class that nobody named says nothing.
    let has_requests = config.services.iter().any(|service| service.secure.is_some());
    let is_usual = config.qos == Config::default().qos && !has_requests;
    let classes = if is_usual { &[] } else { config.qos.as_slice() };
    let document = Document {
        daemon: DaemonSection::from(&config.daemon),
        interface: config.interfaces.iter().map(InterfaceSection::from).collect(),
        service: config.services.iter().map(ServiceSection::from).collect(),
        qos: classes.iter().map(ClassSection::from).collect(),
    };
    // Every value is a string or a number and every key is fixed: TOML can hold them all.
    toml::to_string(&document).unwrap_or_default()
}

#[derive(Serialize)]
struct Document<'a> {
    daemon: DaemonSection,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interface: Vec<InterfaceSection<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    service: Vec<ServiceSection<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    qos: Vec<ClassSection<'a>>,
}

#[derive(Serialize)]
struct DaemonSection {
    socket: String,
    state: String,
    keys: String,
    pins: String,
    flows: u32,
    log: &'static str,
}

impl From<&Daemon> for DaemonSection {
    fn from(daemon: &Daemon) -> Self {
        Self {
            socket: daemon.socket.display().to_string(),
            state: daemon.state.display().to_string(),
            keys: daemon.keys.display().to_string(),
            pins: daemon.pins.display().to_string(),
            flows: daemon.flows,
            log: daemon.log.word(),
        }
    }
}

#[derive(Serialize)]
struct InterfaceSection<'a> {
    name: &'a str,
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<String>,
    on_exit: &'static str,
}

impl<'a> From<&'a Interface> for InterfaceSection<'a> {
    fn from(interface: &'a Interface) -> Self {
        Self {
            name: &interface.name,
            mode: interface.mode.word(),
            lease: interface.lease.map(duration),
            on_exit: interface.on_exit.word(),
        }
    }
}

#[derive(Serialize)]
struct ServiceSection<'a> {
    name: &'a str,
    vip: String,
    protocol: &'static str,
    mode: &'static str,
    scheduler: &'static str,
    forward: &'static str,
    affinity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    affinity_timeout: Option<String>,
    #[serde(flatten)]
    secure: Option<SecureSections<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    backend: Vec<BackendSection<'a>>,
}

impl<'a> From<&'a ServiceSpec> for ServiceSection<'a> {
    fn from(service: &'a ServiceSpec) -> Self {
        Self {
            name: &service.name,
            vip: service.vip.to_string(),
            protocol: service.protocol.word(),
            mode: if service.secure.is_some() { ServiceMode::Secure } else { ServiceMode::Packet }.word(),
            scheduler: service.scheduler.word(),
            forward: service.forward.word(),
            affinity: service.affinity.word(),
            affinity_timeout: service.secure.is_none().then(|| duration(service.affinity_timeout)),
            secure: service.secure.as_deref().map(SecureSections::from),
            backend: service.backends.iter().map(BackendSection::from).collect(),
        }
    }
}

#[derive(Serialize)]
struct BackendSection<'a> {
    name: &'a str,
    address: String,
    weight: u16,
    state: &'static str,
}

impl<'a> From<&'a BackendSpec> for BackendSection<'a> {
    fn from(backend: &'a BackendSpec) -> Self {
        Self {
            name: &backend.name,
            address: backend.address.to_string(),
            weight: backend.weight,
            state: backend.state.word(),
        }
    }
}

fn duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}
