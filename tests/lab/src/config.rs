//! Writes the dispatcher's configuration for a lab.

use crate::{
    RunDirectory,
    addresses::{VIP4, VIP6, backend},
    certificates::{Certificates, FARM},
    demo_backend::HTTPS_PORT,
};
use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

/// A service of the lab and where its backends serve it.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// What clients use.
    pub vip: SocketAddr,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// `nat` or `dsr`.
    pub forward: &'static str,
    /// How a backend is picked.
    pub scheduler: &'static str,
    /// Whether a client stays on its backend.
    pub affinity: &'static str,
    /// The port of the backends.
    pub backend_port: u16,
}

/// The services of `cargo xtask run`: web, web-dsr and dns, each also on IPv6.
#[must_use]
pub fn demo_services() -> Vec<Service> {
    let rows = [("web", 80, "tcp", "nat", 8080), ("web-dsr", 81, "tcp", "dsr", 81), ("dns", 53, "udp", "nat", 5353)];
    let families = [("", IpAddr::V4(VIP4)), ("6", IpAddr::V6(VIP6))];
    families
        .iter()
        .flat_map(|(mark, address)| {
            rows.map(|(name, port, protocol, forward, backend_port)| Service {
                name: format!("{name}{mark}"),
                vip: SocketAddr::new(*address, port),
                protocol,
                forward,
                scheduler: "rr",
                affinity: "none",
                backend_port,
            })
        })
        .collect()
}

/// The port of `shop`, where TLS ends at the dispatcher.
pub const SHOP_PORT: u16 = 443;
/// The port of the VIP where clients are sent to `shop`.
pub const REDIRECT_PORT: u16 = 8000;

/// The sections of a service of mode `secure`, with backends b1 to bN of its own address family.
///
/// Requests for a cart are secure transactions, and the backends keep carts in memory: who is led elsewhere finds his empty.
#[must_use]
pub fn shop_section(name: &str, address: IpAddr, backends: u8, certificates: &Certificates) -> String {
    let (vip, redirect) = (SocketAddr::new(address, SHOP_PORT), SocketAddr::new(address, REDIRECT_PORT));
    let (shop, dispatcher) = (certificates.shop(), certificates.dispatcher());
    let mut text = format!(
        "\n[[service]]\nname = \"{name}\"\nvip = \"{vip}\"\nprotocol = \"tcp\"\nmode = \"secure\"\nscheduler = \"least-load\"\n\
         redirect = \"{redirect}\"\n\
         tls.certificates = [{{ chain = \"{}\", key = \"{}\" }}]\n\
         tunnels.ca = \"{}\"\ntunnels.server_name = \"{FARM}\"\n\
         tunnels.certificate = \"{}\"\ntunnels.key = \"{}\"\n\
         \n[[service.secure]]\npath = \"/cart/**\"\n",
        shop.chain.display(),
        shop.key.display(),
        certificates.authority().display(),
        dispatcher.chain.display(),
        dispatcher.key.display(),
    );
    text.push_str(&backend_sections(address, HTTPS_PORT, backends));
    text
}

/// Two classes of requests, told apart by the field `x-tier`.
pub const QOS_SECTIONS: &str = "\n[[qos]]\nname = \"gold\"\npriority = 0\nmatch = { header = \"x-tier: gold\" }\n\
     \n[[qos]]\nname = \"bronze\"\npriority = 5\nmatch = { header = \"x-tier: bronze\" }\n";

/// The sections `[daemon]` and `[[interface]]` of a lab.
#[must_use]
pub fn daemon_section(directory: &RunDirectory, mode: &str, on_exit: &str) -> String {
    let mut text = format!(
        "[daemon]\nsocket = \"{}\"\nstate = \"{}\"\nkeys = \"{}\"\npins = \"{}\"\n",
        directory.socket().display(),
        directory.state().display(),
        directory.keys().display(),
        directory.pins().display()
    );
    for interface in ["client0", "farm0"] {
        let _infallible =
            write!(text, "\n[[interface]]\nname = \"{interface}\"\nmode = \"{mode}\"\non_exit = \"{on_exit}\"\n");
    }
    text
}

/// The section of one service, with backends b1 to bN of its own address family.
#[must_use]
pub fn service_section(service: &Service, backends: u8) -> String {
    let Service { name, vip, protocol, forward, scheduler, affinity, backend_port } = service;
    let mut text = format!(
        "\n[[service]]\nname = \"{name}\"\nvip = \"{vip}\"\nprotocol = \"{protocol}\"\nmode = \"packet\"\n\
         scheduler = \"{scheduler}\"\nforward = \"{forward}\"\naffinity = \"{affinity}\"\n"
    );
    text.push_str(&backend_sections(vip.ip(), *backend_port, backends));
    text
}

/// The sections of backends b1 to bN, of the VIP's address family.
fn backend_sections(vip: IpAddr, port: u16, backends: u8) -> String {
    let mut text = String::new();
    for number in 1..=backends {
        let [address4, address6] = backend(number);
        let address = SocketAddr::new(if vip.is_ipv4() { address4 } else { address6 }, port);
        let _infallible =
            write!(text, "\n[[service.backend]]\nname = \"b{number}\"\naddress = \"{address}\"\nweight = 100\n");
    }
    text
}

/// The whole configuration of `cargo xtask run`.
#[must_use]
pub fn demo_config(
    directory: &RunDirectory,
    mode: &str,
    on_exit: &str,
    backends: u8,
    shop: Option<&Certificates>,
) -> String {
    let mut text = daemon_section(directory, mode, on_exit);
    text.extend(demo_services().iter().map(|service| service_section(service, backends)));
    if let Some(certificates) = shop {
        text.push_str(QOS_SECTIONS);
        let shops = [("shop", IpAddr::V4(VIP4)), ("shop6", IpAddr::V6(VIP6))];
        text.extend(shops.iter().map(|(name, address)| shop_section(name, *address, backends, certificates)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Suffix;

    #[test]
    fn the_demo_has_eight_services_with_backends_of_their_family() {
        let directory = RunDirectory::of(&"x1".parse::<Suffix>().unwrap());
        let text = demo_config(&directory, "native", "detach", 3, Some(&Certificates::at(&directory.certificates())));
        assert_eq!(text.matches("[[service]]").count(), 8);
        assert_eq!(text.matches("[[service.backend]]").count(), 24);
        for line in [
            "socket = \"/run/dispatcher-lab-x1/control.sock\"",
            "pins = \"/sys/fs/bpf/dispatcher-x1\"",
            "vip = \"203.0.113.10:80\"",
            "vip = \"[2001:db8:113::10]:53\"",
            "address = \"10.77.1.13:5353\"",
            "address = \"[2001:db8:77::12]:81\"",
            "vip = \"[2001:db8:113::10]:443\"",
            "address = \"[2001:db8:77::12]:8443\"",
            "tunnels.ca = \"/run/dispatcher-lab-x1/tls/ca.pem\"",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
