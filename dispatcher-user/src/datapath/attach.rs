//! Attaches the program to interfaces by pinned links, and lets go of them.

use std::{collections::BTreeMap, fmt, io, path::PathBuf};

use aya::{
    Ebpf,
    pin::PinError as AyaPinError,
    programs::{
        ProgramError, XdpMode,
        links::{FdLink, LinkError, PinnedLink},
        loaded_programs,
        xdp::XdpLink,
    },
};

use super::{
    load::{self, LoadError},
    pin::PinDirectory,
};
use crate::{
    config::AttachMode,
    interface::{self, Interface, InterfaceError, mode_name},
};

/// Why an interface could not be attached or let go.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The interface cannot be looked at.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The program is attached to it already.
    #[error("{0} is attached already")]
    Already(String),
    /// The program is not attached to it.
    #[error("{0} is not attached")]
    Not(String),
    /// Somebody else's program is attached to it.
    #[error("{interface} has another XDP program: {holder}; it is not replaced")]
    Taken {
        /// The interface.
        interface: String,
        /// What is known of the other program.
        holder: String,
    },
    /// The kernel refused to attach.
    #[error("cannot attach to {interface} in {} mode: {reason}", mode_name(*mode))]
    Refused {
        /// The interface.
        interface: String,
        /// The mode that was asked for.
        mode: AttachMode,
        /// The kernel's reason.
        reason: String,
    },
    /// The kernel attached in another mode than was asked for.
    #[error("{interface} was attached in {found} mode although {} was asked for", mode_name(*wanted))]
    OtherMode {
        /// The interface.
        interface: String,
        /// The mode that was asked for.
        wanted: AttachMode,
        /// The mode that the kernel reports.
        found: &'static str,
    },
    /// The program is not as it should be.
    #[error(transparent)]
    Program(#[from] LoadError),
    /// The link cannot be pinned.
    #[error("the link of {interface} cannot be pinned at {path}: {reason}")]
    Pin {
        /// The interface.
        interface: String,
        /// The pin.
        path: PathBuf,
        /// The kernel's reason.
        reason: String,
    },
}

/// The interfaces that the program is attached to.
#[derive(Debug, Default)]
pub struct Attachments {
    links: BTreeMap<String, Attachment>,
}

/// One of them.
#[derive(Debug)]
pub struct Attachment {
    /// What is known of the interface.
    pub interface: Interface,
    /// The mode obtained, as the kernel reports it.
    pub mode: AttachMode,
    /// True if the link was taken over from an earlier daemon.
    pub taken_over: bool,
    link: PinnedLink,
}

impl Attachments {
    /// Attaches to `name`, or takes over the link that an earlier daemon left pinned.
    ///
    /// # Errors
    /// If the interface is missing or held by another program, or the kernel refuses. Nothing is left behind then.
    pub async fn attach(
        &mut self,
        ebpf: &mut Ebpf,
        pins: &PinDirectory,
        name: &str,
        mode: AttachMode,
    ) -> Result<&Attachment, AttachError> {
        if self.links.contains_key(name) {
            return Err(AttachError::Already(name.to_owned()));
        }
        let before = interface::look(name).await?;
        let (link, taken_over) = match take_over(ebpf, pins, name, &before)? {
            Some(link) => (link, true),
            None => (attach_new(ebpf, &before, mode)?, false),
        };
        let path = pins.link(name);
        let pinned = if taken_over {
            // The pin stands; this is one more hold on the same link.
            drop(link);
            PinnedLink::from_pin(&path).map_err(|error| pin_error(name, &path, chain(&error)))?
        } else {
            link.pin(&path).map_err(|error: AyaPinError| pin_error(name, &path, chain(&error)))?
        };
        let interface = interface::look(name).await?;
        let attachment = Attachment { mode, taken_over, link: pinned, interface };
        let found = attachment.interface.xdp.and_then(|xdp| xdp.mode);
        if found != Some(mode) {
            let wanted = mode;
            release(attachment).map_err(|error| pin_error(name, &path, error.to_string()))?;
            return Err(AttachError::OtherMode {
                interface: name.to_owned(),
                wanted,
                found: found.map_or("another", mode_name),
            });
        }
        Ok(self.links.entry(name.to_owned()).or_insert(attachment))
    }

    /// Lets go of `name`; gives its index.
    ///
    /// # Errors
    /// If it is not attached, or its pin cannot be removed.
    pub fn detach(&mut self, name: &str) -> Result<u32, AttachError> {
        let attachment = self.links.remove(name).ok_or_else(|| AttachError::Not(name.to_owned()))?;
        let ifindex = attachment.interface.index;
        release(attachment).map_err(|error| AttachError::Pin {
            interface: name.to_owned(),
            path: PathBuf::new(),
            reason: error.to_string(),
        })?;
        Ok(ifindex)
    }

    /// What is attached, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Attachment)> {
        self.links.iter().map(|(name, attachment)| (name.as_str(), attachment))
    }
}

/// Removes the pin and with it the last hold on the link, which detaches.
fn release(attachment: Attachment) -> io::Result<()> {
    attachment.link.unpin().map(drop)
}

/// Replaces the program of a link that was left pinned, between two packets; nothing if there is no such link.
fn take_over(
    ebpf: &mut Ebpf,
    pins: &PinDirectory,
    name: &str,
    interface: &Interface,
) -> Result<Option<FdLink>, AttachError> {
    let path = pins.link(name);
    let Ok(pinned) = PinnedLink::from_pin(&path) else { return Ok(None) };
    if interface.xdp.is_some()
        && let Ok(link) = XdpLink::try_from(FdLink::from(pinned))
    {
        let program = load::program(ebpf, load::ATTACHED)?;
        if let Ok(id) = program.attach_to_link(link) {
            return owned(program.take_link(id), name).map(Some);
        }
    }
    // The interface it was made for is gone, and this one has only its name.
    std::fs::remove_file(&path).map_err(|error| pin_error(name, &path, error.to_string()))?;
    Ok(None)
}

fn attach_new(ebpf: &mut Ebpf, interface: &Interface, mode: AttachMode) -> Result<FdLink, AttachError> {
    let name = &interface.name;
    if let Some(xdp) = &interface.xdp {
        let holder = describe_program(xdp.program);
        return Err(AttachError::Taken { interface: name.clone(), holder });
    }
    let flags = match mode {
        AttachMode::Native => XdpMode::Driver,
        AttachMode::Generic => XdpMode::Skb,
    };
    let program = load::program(ebpf, load::ATTACHED)?;
    let id = program.attach_to_if_index(interface.index, flags).map_err(|error| AttachError::Refused {
        interface: name.clone(),
        mode,
        reason: explain(&error),
    })?;
    owned(program.take_link(id), name)
}

fn owned(link: Result<XdpLink, ProgramError>, name: &str) -> Result<FdLink, AttachError> {
    let refused = |reason: String| AttachError::Pin { interface: name.to_owned(), path: PathBuf::new(), reason };
    FdLink::try_from(link.map_err(|error| refused(chain(&error)))?).map_err(|error: LinkError| refused(chain(&error)))
}

fn pin_error(name: &str, path: &std::path::Path, reason: String) -> AttachError {
    AttachError::Pin { interface: name.to_owned(), path: path.to_owned(), reason }
}

/// What the kernel knows of a program: its name, ID and who loaded it.
fn describe_program(id: u32) -> String {
    let found = loaded_programs().filter_map(Result::ok).find(|program| program.id() == id);
    found.map_or_else(
        || format!("program {id}"),
        |program| {
            let name = program.name_as_str().unwrap_or("?").to_owned();
            let owner = program.created_by_uid().map_or(String::new(), |uid| format!(", of user {uid}"));
            format!("program {id} `{name}`{owner}")
        },
    )
}

/// The error with all its causes: aya keeps the kernel's number in the innermost.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// What the kernel's numbers mean when an XDP program is attached.
fn explain(error: &ProgramError) -> String {
    let text = chain(error);
    let mut innermost: &dyn std::error::Error = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    let number = innermost.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    let meaning = match number {
        Some(16) => "another XDP program holds it",
        Some(17) => "an XDP program is attached in another mode",
        Some(22) => "the driver refuses (an MTU too large for XDP, or LRO, is the usual reason)",
        Some(34) => "its MTU, or its peer's, is too large for XDP",
        Some(95) => "its driver has no native XDP; use --mode generic (slower)",
        _ => return text,
    };
    format!("{meaning} ({text})")
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let taken = if self.taken_over { ", taken over" } else { "" };
        write!(f, "{} ({}, {} mode{taken})", self.interface.name, self.interface.driver, mode_name(self.mode))
    }
}
