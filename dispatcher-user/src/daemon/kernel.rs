//! What the daemon holds of the kernel: programs, tables, attachments, the way down; and its failures in words.

use dispatcher_common::config::{Config as Row, LAYOUT_VERSION};

use super::logging::kernel_level;
use crate::{
    config::{AttachMode, LogLevel},
    core::{dispatcher::Adopted, event::Command},
    datapath::{
        attach::{AttachError, Attachments},
        events::Events,
        inject::Injector,
        load::{self, LoadError, Object},
        pin::{PinDirectory, PinError},
        tables::{TableError, Tables},
    },
    failure::{Code, Failure},
    interface::{self, InterfaceError, mode_name},
};

/// How the daemon reaches the kernel.
pub(super) struct Kernel {
    pub(super) tables: Tables,
    pub(super) attachments: Attachments,
    /// Frames that no interface took.
    pub(super) inject_failures: u64,
    /// Writes and reads that the kernel refused.
    pub(super) table_failures: u64,
    pub(super) row: Row,
    ebpf: Object,
    injector: Injector,
    pins: PinDirectory,
}

impl Kernel {
    /// Loads the programs over the tables pinned in `pins`, or over new ones.
    pub(super) fn load(pins: PinDirectory, flows: u32, log: LogLevel) -> Result<(Self, Events), Failure> {
        let injector = Injector::open().map_err(|errno| {
            Failure::new(Code::NOT_PERMITTED, "no packet socket for first packets")
                .cause(format!("kernel: {errno}"))
                .fix("run as root, or with CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON")
        })?;
        let mut ebpf = load::load(&pins, flows).map_err(load_failure)?;
        let tables = Tables::take(&mut ebpf).map_err(load_failure)?;
        let events = Events::take(&mut ebpf).map_err(load_failure)?;
        let row = Row { layout_version: LAYOUT_VERSION, log_level: kernel_level(log), ..Row::default() };
        let attachments = Attachments::default();
        let kernel = Self { tables, attachments, inject_failures: 0, table_failures: 0, row, ebpf, injector, pins };
        Ok((kernel, events))
    }

    pub(super) fn pins(&self) -> &PinDirectory {
        &self.pins
    }

    /// What an earlier daemon has left in the tables.
    pub(super) fn adopted(&self) -> Result<Adopted, Failure> {
        let read = || {
            let locks = self.tables.locks().map(|(key, _)| key).collect();
            Ok(Adopted { services: self.tables.services()?, backends: self.tables.backends()?, locks })
        };
        read().map_err(|error: TableError| load_failure(error.into()))
    }

    /// The task that hands the programs' rare events to the log.
    pub(super) fn log_task(&mut self) -> Option<impl Future<Output = ()> + Send + use<>> {
        let log = load::Log::take(&mut self.ebpf)?;
        Some(log.forward())
    }

    /// Carries out a command of the core.
    pub(super) fn carry_out(&mut self, command: &Command) {
        if let Command::Inject { ifindex, frame } = command {
            if let Err(error) = self.injector.send(*ifindex, frame) {
                self.inject_failures = self.inject_failures.saturating_add(1);
                if self.inject_failures.is_power_of_two() {
                    tracing::warn!(failures = self.inject_failures, "a held packet was lost: {error}");
                }
            }
        } else if let Err(error) = self.tables.carry_out(command) {
            self.table_failed(&error);
        }
    }

    /// Counts a refused read or write; logs the 1st, 2nd, 4th, 8th …
    pub(super) fn table_failed(&mut self, error: &TableError) {
        self.table_failures = self.table_failures.saturating_add(1);
        if self.table_failures.is_power_of_two() {
            tracing::error!(failures = self.table_failures, "a table cannot be used: {error:#}");
        }
    }

    /// Tells the programs until when the daemon lives, and its lease.
    pub(super) fn write_config(&mut self, upcall_until_ns: u64, lease_until_ns: Option<u64>) {
        self.row = Row { upcall_until_ns, lease_until_ns: lease_until_ns.unwrap_or(0), ..self.row };
        if let Err(error) = self.tables.write_config(&self.row) {
            self.table_failed(&error);
        }
    }

    /// Attaches to an interface and opens it as a way out.
    pub(super) async fn attach(&mut self, name: &str, mode: AttachMode) -> Result<(), Failure> {
        let attachment =
            self.attachments.attach(&mut self.ebpf, &self.pins, name, mode).await.map_err(attach_failure)?;
        let index = attachment.interface.index;
        tracing::info!("attached to {attachment}");
        if let Err(error) = self.tables.open_port(index) {
            let failure = Failure::new(Code::CANNOT_ATTACH, format!("{name} cannot be a way out"));
            self.attachments.detach(name).map_err(attach_failure)?;
            return Err(failure.cause(error));
        }
        Ok(())
    }

    /// Takes over links that an earlier daemon left on interfaces which nobody has named since, or removes them.
    pub(super) async fn take_over_others(&mut self) {
        let known: Vec<String> = self.attachments.iter().map(|(name, _)| name.to_owned()).collect();
        let left = self.pins.linked_interfaces().unwrap_or_default();
        for name in left.into_iter().filter(|name| !known.contains(name)) {
            let mode = interface::look(&name).await.ok().and_then(|found| found.xdp?.mode);
            let outcome = match mode {
                Some(mode) => self.attach(&name, mode).await,
                None => self.pins.remove_link(&name).map_err(pin_failure),
            };
            if let Err(failure) = outcome {
                tracing::warn!("{failure}");
            }
        }
    }

    /// Detaches from an interface.
    pub(super) fn detach(&mut self, name: &str) -> Result<(), Failure> {
        let index = self.attachments.detach(name).map_err(attach_failure)?;
        if let Err(error) = self.tables.close_port(index) {
            self.table_failed(&error);
        }
        tracing::info!("detached from {name}");
        Ok(())
    }

    /// Takes back what a start that failed has attached; what an earlier daemon had attached stays.
    pub(super) fn undo_attachments(&mut self) {
        let new: Vec<String> = self
            .attachments
            .iter()
            .filter(|(_, attachment)| !attachment.taken_over)
            .map(|(name, _)| name.to_owned())
            .collect();
        for name in new {
            if let Err(failure) = self.detach(&name) {
                tracing::error!("{failure}");
            }
        }
    }

    /// Detaches from all interfaces but those to keep, and removes every pin if none is kept; names those kept.
    pub(super) fn leave(mut self, keep: impl Fn(&str) -> bool) -> Result<Vec<String>, Failure> {
        let all: Vec<String> = self.attachments.iter().map(|(name, _)| name.to_owned()).collect();
        let (kept, leaving): (Vec<_>, Vec<_>) = all.into_iter().partition(|name| keep(name));
        let mut outcome = Ok(());
        for name in leaving {
            outcome = outcome.and(self.detach(&name));
        }
        if kept.is_empty() {
            outcome = outcome.and(self.pins.remove_all().map_err(pin_failure));
        }
        outcome.map(|()| kept)
    }
}

pub(super) fn pin_failure(error: PinError) -> Failure {
    let failure = Failure::new(Code::PINS_UNUSABLE, error.to_string());
    match error {
        PinError::Mount { .. } => failure.fix("mount -t bpf bpf /sys/fs/bpf"),
        PinError::Taken(_) => Failure::new(Code::ALREADY_RUNNING, error.to_string())
            .fix("end the other dispatcher, or give this one its own `pins`"),
        PinError::NotBpf(_) => failure.fix("let `pins` name a directory below /sys/fs/bpf"),
        PinError::File { .. } | PinError::NotAttached { .. } => failure,
    }
}

pub(super) fn load_failure(error: LoadError) -> Failure {
    let failure = Failure::new(Code::CANNOT_LOAD, error.to_string());
    if matches!(error, LoadError::Layout { .. }) { failure.fix("dispatcher detach --all") } else { failure }
}

fn attach_failure(error: AttachError) -> Failure {
    let message = error.to_string();
    match error {
        AttachError::Interface(InterfaceError::Missing(_)) => {
            Failure::new(Code::NO_SUCH_INTERFACE, message).fix("`ip link` lists the interfaces")
        }
        AttachError::Taken { interface, .. } => Failure::new(Code::INTERFACE_HELD, message)
            .fix(format!("detach the other program (`ip link set dev {interface} xdp off`), or use another interface")),
        AttachError::Refused { interface, mode, reason } => {
            Failure::new(Code::CANNOT_ATTACH, format!("cannot attach to {interface} in {} mode", mode_name(mode)))
                .cause(format!("kernel: {reason}"))
        }
        AttachError::Not(_) | AttachError::Already(_) => Failure::new(Code::REFUSED, message),
        AttachError::Interface(_)
        | AttachError::OtherMode { .. }
        | AttachError::Program(_)
        | AttachError::Pin { .. } => Failure::new(Code::CANNOT_ATTACH, message),
    }
}
