//! Makes VIPs local, so that the kernel takes their packets in: a route of type `local`, by netlink, and undoes it.
//!
//! No address is put on an interface: a VIP stays on no list of the host's own addresses, and is no source of its
//! connections. A route that an operator made is used and left alone. One that a daemon left behind when it was killed is
//! known by its protocol number, and is taken over.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use futures_util::TryStreamExt as _;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType};
use rtnetlink::{Handle, RouteMessageBuilder};
use tokio::task::JoinHandle;

/// Who made a route, as `ip route show table local` prints it: a number that no routing daemon uses.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(0xd5);
/// `RT_TABLE_LOCAL` of `linux/rtnetlink.h`.
const LOCAL_TABLE: u8 = 255;

/// Why a VIP cannot be made local.
#[derive(Debug, thiserror::Error)]
pub enum VipError {
    /// No netlink socket.
    #[error("routes cannot be asked for: {0}")]
    Netlink(#[from] io::Error),
    /// The kernel refused a request.
    #[error("{vip} cannot be made local, {action} failed: {source}")]
    Kernel {
        /// The VIP.
        vip: IpAddr,
        /// What was asked for.
        action: &'static str,
        /// The kernel's reason.
        source: rtnetlink::Error,
    },
    /// There is no loopback interface; every network namespace has one.
    #[error("there is no interface `lo`")]
    NoLoopback,
}

/// The VIPs that were made local here.
#[derive(Debug)]
pub struct LocalVips {
    handle: Handle,
    connection: JoinHandle<()>,
    made: BTreeSet<IpAddr>,
}

impl LocalVips {
    /// Opens a netlink socket.
    ///
    /// # Errors
    /// If the system refuses it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn open() -> Result<Self, VipError> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        Ok(Self { handle, connection: tokio::spawn(connection), made: BTreeSet::new() })
    }

    /// The VIPs that were made local here.
    #[must_use]
    pub fn made(&self) -> BTreeSet<IpAddr> {
        self.made.clone()
    }

    /// Makes a VIP local, unless it is.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub async fn add(&mut self, vip: IpAddr) -> Result<(), VipError> {
        if self.made.contains(&vip) {
            return Ok(());
        }
        match self.holder(vip).await? {
            Some(PROTOCOL) => {
                tracing::info!(%vip, "the VIP is local already, as an earlier daemon left it");
                self.made.insert(vip);
                return Ok(());
            }
            Some(holder) => {
                tracing::info!(%vip, ?holder, "the VIP is local already, and is left so");
                return Ok(());
            }
            None => {}
        }
        let route = self.route(vip).await?;
        let refused = |source| VipError::Kernel { vip, action: "adding the route", source };
        self.handle.route().add(route).execute().await.map_err(refused)?;
        tracing::info!(%vip, "the VIP is local now");
        self.made.insert(vip);
        Ok(())
    }

    /// Undoes what [`Self::add`] did; a VIP that was local before stays so.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub async fn remove(&mut self, vip: IpAddr) -> Result<(), VipError> {
        if !self.made.remove(&vip) {
            return Ok(());
        }
        let route = self.route(vip).await?;
        let refused = |source| VipError::Kernel { vip, action: "removing the route", source };
        self.handle.route().del(route).execute().await.map_err(refused)
    }

    /// Undoes everything.
    pub async fn clear(&mut self) {
        for vip in self.made.clone() {
            if let Err(error) = self.remove(vip).await {
                tracing::warn!("{error}");
            }
        }
    }

    /// Who made the route by which `vip` is local, if it is.
    async fn holder(&self, vip: IpAddr) -> Result<Option<RouteProtocol>, VipError> {
        // With a destination the kernel would look it up, and name no route.
        let mut filter = RouteMessage::default();
        filter.header.address_family = message(vip).header.address_family;
        let refused = |source| VipError::Kernel { vip, action: "reading the routes", source };
        let mut routes = std::pin::pin!(self.handle.route().get(filter).execute());
        while let Some(route) = routes.try_next().await.map_err(refused)? {
            if is_local(&route, vip) {
                return Ok(Some(route.header.protocol));
            }
        }
        Ok(None)
    }

    async fn route(&self, vip: IpAddr) -> Result<RouteMessage, VipError> {
        let mut route = message(vip);
        route.header.table = LOCAL_TABLE;
        route.header.kind = RouteType::Local;
        route.header.scope = RouteScope::Host;
        route.header.protocol = PROTOCOL;
        route.attributes.push(RouteAttribute::Oif(self.loopback(vip).await?));
        Ok(route)
    }

    async fn loopback(&self, vip: IpAddr) -> Result<u32, VipError> {
        let refused = |source| VipError::Kernel { vip, action: "looking for `lo`", source };
        let mut links = std::pin::pin!(self.handle.link().get().match_name("lo".to_owned()).execute());
        let link = links.try_next().await.map_err(refused)?.ok_or(VipError::NoLoopback)?;
        Ok(link.header.index)
    }
}

impl Drop for LocalVips {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// A message about the route to `vip` alone.
fn message(vip: IpAddr) -> RouteMessage {
    match vip {
        IpAddr::V4(v4) => RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(v4, 32).build(),
        IpAddr::V6(v6) => RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(v6, 128).build(),
    }
}

/// True if a route is a local one to `vip` alone.
fn is_local(route: &RouteMessage, vip: IpAddr) -> bool {
    let length = if vip.is_ipv4() { 32 } else { 128 };
    route.header.kind == RouteType::Local
        && route.header.destination_prefix_length == length
        && route.attributes.iter().any(|attribute| match (attribute, vip) {
            (RouteAttribute::Destination(RouteAddress::Inet(v4)), IpAddr::V4(wanted)) => *v4 == wanted,
            (RouteAttribute::Destination(RouteAddress::Inet6(v6)), IpAddr::V6(wanted)) => *v6 == wanted,
            _ => false,
        })
}
