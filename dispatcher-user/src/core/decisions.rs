//! What was decided in the last moments: the kernel's tables know it by now, but packets that went up before still come.

use dispatcher_common::{
    address::{Family, Mapped, V6},
    backend::Backend,
    client::ClientKey,
    flow::FlowKey,
};

use super::recent::Recent;

/// Recent decisions.
#[derive(Debug)]
pub(super) struct Decisions {
    flows: Recent<UnifiedKey, FlowDecision>,
    /// VIPs of flows, by the key of their backends' answers.
    answers: Recent<UnifiedKey, Vip>,
    clients: Recent<ClientKey, ClientDecision>,
}

/// A 5-tuple with addresses in the form shared by both families.
pub(super) type UnifiedKey = FlowKey<V6>;

/// The address and port that a client believes to be talking to.
type Vip = (Mapped, u16);

/// The backend that a flow was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FlowDecision {
    /// Backend ID.
    pub(super) backend: u16,
    /// Its generation.
    pub(super) generation: u16,
    /// The sequence number of the SYN that opened the flow, if one did: it tells a repeated SYN from a new connection.
    pub(super) opening: Option<[u8; 4]>,
}

/// The backend that a client was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientDecision {
    /// Backend ID.
    pub(super) backend: u16,
    /// Its generation.
    pub(super) generation: u16,
    /// When it stops counting.
    pub(super) expires_ns: u64,
}

impl Decisions {
    /// Nothing was decided yet.
    pub(super) fn new(seed: u64, now_ns: u64) -> Self {
        Self {
            flows: Recent::new(seed, now_ns),
            answers: Recent::new(seed, now_ns),
            clients: Recent::new(seed, now_ns),
        }
    }

    /// Forgets what is due.
    pub(super) fn tick(&mut self, now_ns: u64) {
        self.flows.tick(now_ns);
        self.answers.tick(now_ns);
        self.clients.tick(now_ns);
    }

    /// What was decided for a flow.
    pub(super) fn flow<A: Family>(&self, key: &FlowKey<A>) -> Option<&FlowDecision> {
        self.flows.find(&unified(key))
    }

    /// Remembers a flow's backend.
    pub(super) fn remember_flow<A: Family>(&mut self, now_ns: u64, key: &FlowKey<A>, decision: FlowDecision) {
        self.flows.insert(now_ns, unified(key), decision);
    }

    /// Forgets a flow's backend.
    pub(super) fn forget_flow(&mut self, key: &UnifiedKey) {
        self.flows.remove(key);
    }

    /// Remembers which flow the answers with the key `answer` belong to.
    pub(super) fn remember_answer<A: Family>(&mut self, now_ns: u64, answer: &FlowKey<A>, of: &FlowKey<A>) {
        self.answers.insert(now_ns, unified(answer), (of.dst.mapped(), of.dport));
    }

    /// True if the backend's answers could not be told from those of another flow: the same client port, to another VIP
    /// that leads to the same backend.
    ///
    /// Flows of longer ago are not remembered here.
    pub(super) fn conflicts<A: Family>(&self, key: &FlowKey<A>, backend: &Backend) -> bool {
        let vip = self.answers.find(&unified(&key.answered_by(backend)));
        vip.is_some_and(|&vip| vip != (key.dst.mapped(), key.dport))
    }

    /// What was decided for a client.
    pub(super) fn client(&self, key: &ClientKey) -> Option<&ClientDecision> {
        self.clients.find(key)
    }

    /// Remembers a client's backend.
    pub(super) fn remember_client(&mut self, now_ns: u64, key: ClientKey, decision: ClientDecision) {
        self.clients.insert(now_ns, key, decision);
    }
}

/// The key with addresses in the form shared by both families.
pub(super) fn unified<A: Family>(key: &FlowKey<A>) -> UnifiedKey {
    let FlowKey { src, dst, sport, dport, proto, pad } = *key;
    FlowKey { src: src.mapped(), dst: dst.mapped(), sport, dport, proto, pad }
}
