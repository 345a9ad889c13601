//! Finds the next hops of backends by netlink, and follows them: routes, links and neighbours may all change.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use futures_util::{StreamExt as _, TryStreamExt as _};
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::LinkAttribute,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
    route::{RouteAddress, RouteAttribute},
};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder, new_multicast_connection};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use crate::core::event::{Event, NextHop};

/// How often an address without a neighbour is asked for.
const RETRY: Duration = Duration::from_millis(500);
/// How many retries pass between two checks of neighbours that are known: XDP's packets do not confirm them.
const CONFIRM_EVERY: u32 = 20;

/// What the daemon asks of the follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Find the next hop towards an address, and tell every change.
    Follow(IpAddr),
    /// Forget an address.
    Unfollow(IpAddr),
}

/// What is known of one followed address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Followed {
    /// Interface and gateway that its route names.
    route: Option<Route>,
    /// What was told last; `None` if nothing was yet.
    told: Option<Option<NextHop>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Route {
    ifindex: u32,
    source_mac: [u8; 6],
    /// The gateway, or the address itself where it is on the link.
    neighbour: IpAddr,
}

/// Follows next hops until the daemon hangs up.
///
/// # Errors
/// If no netlink socket can be opened.
pub async fn follow(requests: mpsc::Receiver<Request>, events: mpsc::Sender<Event>) -> std::io::Result<()> {
    let groups = [
        MulticastGroup::Neigh,
        MulticastGroup::Link,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
    ];
    let (connection, handle, messages) = new_multicast_connection(&groups)?;
    let connection = tokio::spawn(connection);
    let mut follower = Follower { handle, events, followed: BTreeMap::new() };
    follower.run(requests, messages).await;
    connection.abort();
    Ok(())
}

struct Follower {
    handle: Handle,
    events: mpsc::Sender<Event>,
    followed: BTreeMap<IpAddr, Followed>,
}

impl Follower {
    async fn run<M>(&mut self, mut requests: mpsc::Receiver<Request>, mut messages: M)
    where
        M: futures_util::Stream<
                Item = (netlink_packet_core::NetlinkMessage<RouteNetlinkMessage>, netlink_sys::SocketAddr),
            > + Unpin,
    {
        let mut retry = interval(RETRY);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rounds = 0_u32;
        let mut rerouted = false;
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(Request::Follow(address)) => self.start(address).await,
                    Some(Request::Unfollow(address)) => { self.followed.remove(&address); }
                    None => return,
                },
                Some((message, _)) = messages.next() => {
                    if let NetlinkPayload::InnerMessage(
                        RouteNetlinkMessage::NewNeighbour(neighbour) | RouteNetlinkMessage::DelNeighbour(neighbour),
                    ) = message.payload
                    {
                        self.neighbour_changed(&neighbour).await;
                    } else {
                        // Routes change in bursts; they are looked up again at the next round.
                        rerouted = true;
                    }
                },
                _ = retry.tick() => {
                    rounds = rounds.wrapping_add(1);
                    let all = std::mem::take(&mut rerouted) || rounds.is_multiple_of(CONFIRM_EVERY);
                    self.round(all).await;
                }
            }
        }
    }

    async fn start(&mut self, address: IpAddr) {
        self.followed.entry(address).or_default();
        self.resolve(address).await;
    }

    /// Resolves the addresses that have no neighbour, or all of them.
    async fn round(&mut self, all: bool) {
        let due: Vec<IpAddr> = self
            .followed
            .iter()
            .filter(|(_, followed)| all || !matches!(followed.told, Some(Some(_))))
            .map(|(address, _)| *address)
            .collect();
        for address in due {
            self.resolve(address).await;
        }
    }

    /// Looks up route and neighbour of an address, asks the kernel to resolve it, and tells what is known.
    async fn resolve(&mut self, address: IpAddr) {
        let route = self.route(address).await;
        let mut hop = None;
        if let Some(route) = route {
            // "Use" makes the kernel resolve a missing neighbour, and confirm a stale one.
            let asked = self
                .handle
                .neighbours()
                .add(route.ifindex, route.neighbour)
                .state(NeighbourState::None)
                .flags(NeighbourFlags::Use)
                .replace()
                .execute()
                .await;
            if let Err(error) = asked {
                tracing::debug!(%address, "neighbour cannot be resolved: {error}");
            }
            hop = self.neighbour(&route).await;
        }
        if let Some(followed) = self.followed.get_mut(&address) {
            followed.route = route;
        }
        self.tell(address, hop).await;
    }

    /// The interface and gateway towards an address.
    async fn route(&self, address: IpAddr) -> Option<Route> {
        let message = match address {
            IpAddr::V4(v4) => RouteMessageBuilder::<std::net::Ipv4Addr>::new().destination_prefix(v4, 32).build(),
            IpAddr::V6(v6) => RouteMessageBuilder::<std::net::Ipv6Addr>::new().destination_prefix(v6, 128).build(),
        };
        let mut routes = std::pin::pin!(self.handle.route().get(message).execute());
        let found = routes.try_next().await.ok()??;
        let (mut ifindex, mut neighbour) = (None, address);
        for attribute in found.attributes {
            if let RouteAttribute::Oif(index) = attribute {
                ifindex = Some(index);
            } else if let RouteAttribute::Gateway(gateway) = attribute {
                neighbour = ip_address(&gateway)?;
            }
        }
        let ifindex = ifindex?;
        let source_mac = self.mac(ifindex).await?;
        Some(Route { ifindex, source_mac, neighbour })
    }

    async fn mac(&self, ifindex: u32) -> Option<[u8; 6]> {
        let mut links = std::pin::pin!(self.handle.link().get().match_index(ifindex).execute());
        let link = links.try_next().await.ok()??;
        link.attributes.into_iter().find_map(|attribute| {
            if let LinkAttribute::Address(bytes) = attribute { bytes.try_into().ok() } else { None }
        })
    }

    /// The MAC address of a route's neighbour, if it is known and not refuted.
    async fn neighbour(&self, route: &Route) -> Option<NextHop> {
        let family = if route.neighbour.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let mut neighbours = std::pin::pin!(self.handle.neighbours().get().set_address_family(family).execute());
        while let Ok(Some(message)) = neighbours.try_next().await {
            if is_of(&message, route) {
                return next_hop(&message, route);
            }
        }
        None
    }

    async fn neighbour_changed(&mut self, message: &NeighbourMessage) {
        let concerned: Vec<(IpAddr, Route)> = self
            .followed
            .iter()
            .filter_map(|(address, followed)| Some((*address, followed.route?)))
            .filter(|(_, route)| is_of(message, route))
            .collect();
        for (address, route) in concerned {
            // While the kernel asks, what was known still holds.
            if message.header.state != NeighbourState::Incomplete {
                self.tell(address, next_hop(message, &route)).await;
            }
        }
    }

    async fn tell(&mut self, address: IpAddr, hop: Option<NextHop>) {
        let Some(followed) = self.followed.get_mut(&address) else { return };
        if followed.told == Some(hop) {
            return;
        }
        followed.told = Some(hop);
        match hop {
            Some(hop) => tracing::info!(%address, ifindex = hop.ifindex, mac = ?hop.mac, "next hop found"),
            None => tracing::warn!(%address, "no next hop"),
        }
        if self.events.send(Event::Neighbour { address, hop }).await.is_err() {
            tracing::debug!("the daemon no longer listens");
        }
    }
}

fn ip_address(address: &RouteAddress) -> Option<IpAddr> {
    if let RouteAddress::Inet(v4) = address {
        Some(IpAddr::V4(*v4))
    } else if let RouteAddress::Inet6(v6) = address {
        Some(IpAddr::V6(*v6))
    } else {
        None
    }
}

/// True if a neighbour entry is that of a route.
fn is_of(message: &NeighbourMessage, route: &Route) -> bool {
    message.header.ifindex == route.ifindex
        && message.attributes.iter().any(|attribute| match (attribute, route.neighbour) {
            (NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)), IpAddr::V4(wanted)) => *v4 == wanted,
            (NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)), IpAddr::V6(wanted)) => *v6 == wanted,
            _ => false,
        })
}

/// The next hop that a neighbour entry gives: none while it is unresolved or after it failed.
fn next_hop(message: &NeighbourMessage, route: &Route) -> Option<NextHop> {
    if matches!(message.header.state, NeighbourState::Incomplete | NeighbourState::Failed | NeighbourState::None) {
        return None;
    }
    let mac = message.attributes.iter().find_map(|attribute| {
        if let NeighbourAttribute::LinkLayerAddress(bytes) = attribute {
            bytes.as_slice().try_into().ok()
        } else {
            None
        }
    })?;
    Some(NextHop { ifindex: route.ifindex, mac, source_mac: route.source_mac })
}
