//! Looks at network interfaces: index, MAC address, driver, and which XDP program is on them.

use std::{fs, path::Path};

use futures_util::TryStreamExt as _;
use netlink_packet_route::link::{LinkAttribute, LinkInfo, LinkMessage, LinkXdp, XdpAttached};

use crate::config::AttachMode;

/// How a mode is called.
#[must_use]
pub fn mode_name(mode: AttachMode) -> &'static str {
    match mode {
        AttachMode::Native => "native",
        AttachMode::Generic => "generic",
    }
}

/// What is known of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Its MAC address; zero if it has none.
    pub mac: [u8; 6],
    /// Its driver, or its kind if it is a virtual one.
    pub driver: String,
    /// The XDP program on it.
    pub xdp: Option<Xdp>,
}

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xdp {
    /// How it is attached; `None` for offloaded to hardware or several at once.
    pub mode: Option<AttachMode>,
    /// The kernel's number of the program.
    pub program: u32,
}

/// Why an interface cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// No interface has that name.
    #[error("there is no interface {0}")]
    Missing(String),
    /// Netlink gave an error.
    #[error("the kernel does not say what {name} is: {source}")]
    Netlink {
        /// The interface.
        name: String,
        /// What netlink said.
        source: rtnetlink::Error,
    },
    /// A netlink socket could not be opened.
    #[error("no netlink socket: {0}")]
    Socket(std::io::Error),
}

/// Looks at the interface `name`.
///
/// # Errors
/// If there is none, or netlink fails.
pub async fn look(name: &str) -> Result<Interface, InterfaceError> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(InterfaceError::Socket)?;
    let connection = tokio::spawn(connection);
    let found = handle.link().get().match_name(name.to_owned()).execute().try_next().await;
    connection.abort();
    match found {
        Ok(Some(message)) => Ok(read(name, &message)),
        Ok(None) => Err(InterfaceError::Missing(name.to_owned())),
        Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -19 => {
            Err(InterfaceError::Missing(name.to_owned()))
        }
        Err(source) => Err(InterfaceError::Netlink { name: name.to_owned(), source }),
    }
}

fn read(name: &str, message: &LinkMessage) -> Interface {
    let mut interface = Interface {
        name: name.to_owned(),
        index: message.header.index,
        mac: [0; 6],
        driver: hardware_driver(name).unwrap_or_else(|| "unknown driver".to_owned()),
        xdp: None,
    };
    for attribute in &message.attributes {
        if let LinkAttribute::Address(bytes) = attribute {
            interface.mac = bytes.as_slice().try_into().unwrap_or_default();
        } else if let LinkAttribute::LinkInfo(infos) = attribute {
            for info in infos {
                if let LinkInfo::Kind(kind) = info {
                    interface.driver = kind.to_string();
                }
            }
        } else if let LinkAttribute::Xdp(attributes) = attribute {
            interface.xdp = read_xdp(attributes);
        }
    }
    interface
}

fn read_xdp(attributes: &[LinkXdp]) -> Option<Xdp> {
    let mut xdp = Xdp { mode: None, program: 0 };
    for attribute in attributes {
        if let LinkXdp::Attached(attached) = attribute {
            if *attached == XdpAttached::None {
                return None;
            }
            let modes = [(XdpAttached::Driver, AttachMode::Native), (XdpAttached::SocketBuffer, AttachMode::Generic)];
            xdp.mode = modes.into_iter().find(|(known, _)| known == attached).map(|(_, mode)| mode);
        } else if let LinkXdp::ProgId(id) = attribute {
            xdp.program = *id;
        }
    }
    Some(xdp)
}

/// The driver of a hardware interface, from sysfs.
fn hardware_driver(name: &str) -> Option<String> {
    let link = fs::read_link(Path::new("/sys/class/net").join(name).join("device/driver")).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}
