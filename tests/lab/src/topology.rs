//! The namespaces of a lab and the cables between them.

use crate::{
    LabError, Namespace, Suffix,
    addresses::{
        CLIENT_HOSTS, DISPATCHER_CLIENT_SIDE4, DISPATCHER_CLIENT_SIDE6, DISPATCHER_FARM_SIDE4, DISPATCHER_FARM_SIDE6,
        MOST_BACKENDS, VIP_NETWORK4, VIP_NETWORK6, VIP4, VIP6, backend4, backend6, client4, client6,
    },
    command, namespace, wait_until,
};
use std::{net::IpAddr, path::Path, process::Command, time::Duration};

/// The client's interface.
pub const CLIENT_INTERFACE: &str = "lan0";
/// A backend's interface.
pub const BACKEND_INTERFACE: &str = "net0";
const LINKS_UP_WITHIN: Duration = Duration::from_secs(10);

/// A lab without programs: cabled, addressed, and forwarding.
#[derive(Debug)]
pub struct Topology {
    /// Where clients run.
    pub client: Namespace,
    /// Where the dispatcher runs, with interfaces `client0` and `farm0`.
    pub dispatcher: Namespace,
    /// Where the bridge of the backends' network is.
    pub farm: Namespace,
    /// Where the backends run, b1 first.
    pub backends: Vec<Namespace>,
}

/// All names that a lab with that many backends gives to namespaces: client, dispatcher, farm, backends.
#[must_use]
pub fn namespace_names(suffix: &Suffix, backends: u8) -> Vec<String> {
    let fixed = ["dsp-client", "dsp-lb1", "dsp-farm"].map(str::to_owned);
    let farm = (1..=backends).map(|number| format!("dsp-b{number}"));
    fixed.into_iter().chain(farm).map(|base| suffix.apply(&base)).collect()
}

impl Topology {
    /// Builds the namespaces and waits until every link is up.
    ///
    /// # Errors
    /// Without root, when one of the names is taken, or when `ip` or `ethtool` fails.
    pub fn build(suffix: &Suffix, backends: u8) -> Result<Self, LabError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(LabError::NotRoot);
        }
        if !(1..=MOST_BACKENDS).contains(&backends) {
            return Err(LabError::BackendCount { wanted: backends, most: MOST_BACKENDS });
        }
        if let Some(name) = namespace_names(suffix, backends).iter().find(|name| namespace::exists(name)) {
            return Err(LabError::Exists { what: format!("namespace {name}"), flag: suffix.flag() });
        }
        let create = |base: &str| Namespace::create(&suffix.apply(base));
        let topology = Self {
            client: create("dsp-client")?,
            dispatcher: create("dsp-lb1")?,
            farm: create("dsp-farm")?,
            backends: (1..=backends).map(|number| create(&format!("dsp-b{number}"))).collect::<Result<_, _>>()?,
        };
        topology.tune_kernel()?;
        topology.cable()?;
        topology.switch_offloads()?;
        topology.bring_up()?;
        topology.address()?;
        topology.wait_for_links()?;
        Ok(topology)
    }

    /// Gives the backends one more service address, for direct server return.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn add_vip(&self, vip: IpAddr) -> Result<(), LabError> {
        let (bits, option) = match vip {
            IpAddr::V4(_) => (32, ""),
            IpAddr::V6(_) => (128, " nodad"),
        };
        let line = format!("addr add {vip}/{bits} dev lo{option}");
        self.backends.iter().try_for_each(|backend| backend.ip(&[&line]))
    }

    /// Lets all namespaces live on after this value.
    pub fn keep(&mut self) {
        self.all_mut().for_each(Namespace::keep);
    }

    fn all(&self) -> impl Iterator<Item = &Namespace> {
        [&self.client, &self.dispatcher, &self.farm].into_iter().chain(&self.backends)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Namespace> {
        [&mut self.client, &mut self.dispatcher, &mut self.farm].into_iter().chain(&mut self.backends)
    }

    /// Settings that must be there before the interfaces are, which inherit them.
    fn tune_kernel(&self) -> Result<(), LabError> {
        for namespace in self.all() {
            namespace.sysctl(&[
                // Duplicate address detection makes a new address useless for a second or two.
                ("net/ipv6/conf/all/accept_dad", "0"),
                ("net/ipv6/conf/default/accept_dad", "0"),
                // Direct server return is asymmetric by design.
                ("net/ipv4/conf/all/rp_filter", "0"),
                ("net/ipv4/conf/default/rp_filter", "0"),
            ])?;
        }
        self.dispatcher.sysctl(&[("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")])?;
        for backend in &self.backends {
            backend.sysctl(&[
                // The service address on lo must not be announced: the dispatcher alone answers for it.
                ("net/ipv4/conf/all/arp_ignore", "1"),
                ("net/ipv4/conf/all/arp_announce", "2"),
                // Room for thousands of first packets in one burst.
                ("net/core/somaxconn", "8192"),
                ("net/ipv4/tcp_max_syn_backlog", "8192"),
            ])?;
        }
        // A bridge hands its frames to netfilter where that is compiled in, which drops malformed ones.
        if self.farm.run(|| Path::new("/proc/sys/net/bridge").exists())? {
            self.farm.sysctl(&[
                ("net/bridge/bridge-nf-call-iptables", "0"),
                ("net/bridge/bridge-nf-call-ip6tables", "0"),
                ("net/bridge/bridge-nf-call-arptables", "0"),
            ])?;
        }
        Ok(())
    }

    fn cable(&self) -> Result<(), LabError> {
        let veth = |one: &str, at: &Namespace, other: &str, there: &Namespace| {
            let (at, there) = (at.name(), there.name());
            format!("link add name {one} netns {at} type veth peer name {other} netns {there}\n")
        };
        let mut batch = veth("client0", &self.dispatcher, CLIENT_INTERFACE, &self.client);
        batch += &veth("farm0", &self.dispatcher, "lb1", &self.farm);
        for (port, backend) in self.backend_ports() {
            batch += &veth(BACKEND_INTERFACE, backend, &port, &self.farm);
        }
        command::succeed(Command::new("ip").args(["-batch", "-"]), Some(&batch))?;
        let mut bridge = vec!["link add farm type bridge stp_state 0 forward_delay 0 mcast_snooping 0".to_owned()];
        bridge.extend(self.farm_ports().map(|port| format!("link set {port} master farm")));
        self.farm.ip(&bridge)
    }

    /// The bridge's ports to the backends, each with the namespace at its other end.
    fn backend_ports(&self) -> impl Iterator<Item = (String, &Namespace)> {
        (1_u8..).zip(&self.backends).map(|(number, backend)| (format!("b{number}"), backend))
    }

    fn farm_ports(&self) -> impl Iterator<Item = String> {
        std::iter::once("lb1".to_owned()).chain(self.backend_ports().map(|(port, _)| port))
    }

    fn interfaces(&self) -> Vec<(&Namespace, String)> {
        let fixed = [(&self.client, CLIENT_INTERFACE), (&self.dispatcher, "client0"), (&self.dispatcher, "farm0")];
        let farm = self.farm_ports().chain(["farm".to_owned()]).map(|port| (&self.farm, port));
        let backends = self.backends.iter().map(|backend| (backend, BACKEND_INTERFACE.to_owned()));
        fixed.into_iter().map(|(at, name)| (at, name.to_owned())).chain(farm).chain(backends).collect()
    }

    /// A veth drops redirected frames unless its receiving end has GRO (or XDP) on, and checksums that
    /// were left to hardware which is not there are wrong in every frame that XDP forwards.
    fn switch_offloads(&self) -> Result<(), LabError> {
        const FEATURES: [&str; 8] = ["gro", "on", "tx", "off", "tso", "off", "gso", "off"];
        self.interfaces().into_iter().try_for_each(|(namespace, interface)| {
            namespace.succeed(Command::new("ethtool").args(["-K", &interface]).args(FEATURES))?;
            Ok(())
        })
    }

    fn bring_up(&self) -> Result<(), LabError> {
        self.interfaces()
            .into_iter()
            .try_for_each(|(namespace, interface)| namespace.ip(&[format!("link set {interface} up")]))
    }

    fn address(&self) -> Result<(), LabError> {
        let dev = CLIENT_INTERFACE;
        let (via4, via6) = (DISPATCHER_CLIENT_SIDE4, DISPATCHER_CLIENT_SIDE6);
        let mut client: Vec<String> = CLIENT_HOSTS
            .flat_map(|host| {
                [
                    format!("addr add {}/24 dev {dev}", client4(host)),
                    format!("addr add {}/64 dev {dev} nodad", client6(host)),
                ]
            })
            .collect();
        let first6 = client6(*CLIENT_HOSTS.start());
        for (to4, to6) in [(VIP_NETWORK4, VIP_NETWORK6), ("0.0.0.0/0", "::/0")] {
            client.push(format!("route add {to4} via {via4}"));
            client.push(format!("route add {to6} via {via6} src {first6}"));
        }
        self.client.ip(&client)?;
        self.dispatcher.ip(&[
            format!("addr add {via4}/24 dev client0"),
            format!("addr add {via6}/64 dev client0 nodad"),
            format!("addr add {DISPATCHER_FARM_SIDE4}/24 dev farm0"),
            format!("addr add {DISPATCHER_FARM_SIDE6}/64 dev farm0 nodad"),
        ])?;
        for (number, backend) in (1_u8..).zip(&self.backends) {
            backend.ip(&[
                format!("addr add {}/24 dev {BACKEND_INTERFACE}", backend4(number)),
                format!("addr add {}/64 dev {BACKEND_INTERFACE} nodad", backend6(number)),
                format!("route add default via {DISPATCHER_FARM_SIDE4}"),
                format!("route add ::/0 via {DISPATCHER_FARM_SIDE6}"),
            ])?;
        }
        self.add_vip(IpAddr::V4(VIP4))?;
        self.add_vip(IpAddr::V6(VIP6))
    }

    fn wait_for_links(&self) -> Result<(), LabError> {
        for (namespace, interface) in self.interfaces() {
            let is_up = || {
                let mut show = Command::new("ip");
                show.args(["-oneline", "link", "show", "dev", &interface]);
                namespace.succeed(&mut show).is_ok_and(|line| line.contains(" state UP "))
            };
            wait_until(&format!("{interface} of {} up", namespace.name()), LINKS_UP_WITHIN, is_up)?;
        }
        Ok(())
    }
}
