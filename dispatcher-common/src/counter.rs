//! Every counter of the XDP program: one list gives the table's fields, the enum, the names and their meaning.

/// Turns the list into [`Counter`], [`Stats`] and their texts, so that a counter cannot exist in one of them alone.
macro_rules! counters {
    ($($variant:ident $field:ident $meaning:literal)+) => {
        /// Names one counter; also the reason that a verdict carries.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Counter { $(#[doc = $meaning] $variant),+ }

        /// The row of `dsp_stats`, one copy for each CPU; the reader adds the copies up.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Stats { $(#[doc = $meaning] pub $field: u64),+ }

        impl Counter {
            /// All counters, in the order of [`Stats`]'s fields.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The counter's name: its field in `dsp_stats`, its line in `dispatcher drops`, its label in metrics.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($field)),+ }
            }

            /// What one count means, in a sentence.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),+ }
            }
        }

        impl Stats {
            /// The count of one counter.
            #[must_use]
            pub fn count(&self, counter: Counter) -> u64 {
                match counter { $(Counter::$variant => self.$field),+ }
            }

            /// Adds one to a counter.
            pub fn add(&mut self, counter: Counter) {
                let field = match counter { $(Counter::$variant => &mut self.$field),+ };
                *field = field.wrapping_add(1);
            }

            /// Adds another CPU's copy.
            pub fn merge(&mut self, other: &Self) {
                $(self.$field = self.$field.wrapping_add(other.$field);)+
            }
        }
    };
}

counters! {
    NotOurs pass_not_ours "Its destination is no service; the kernel has it, untouched."
    NotOursMalformed pass_malformed "Malformed, but its destination is no service; the kernel has it, untouched."
    Fragment pass_fragment "A fragment, which carries no complete 5-tuple; the kernel has it, untouched."
    Tagged pass_vlan_tagged "VLAN-tagged, for a service; the kernel has it, untouched."
    TtlExpired pass_ttl_expired "For a service, with a TTL or hop limit that ends here; the kernel answers it."
    Secure pass_secure "For a service whose TLS ends here; the local stack has it, untouched."
    LeaseOver pass_lease_over "A new flow while the daemon's lease has run out; the kernel has it, untouched."
    BadHeader drop_bad_header "For a service, with an impossible header: version, header length or data offset."
    BadLength drop_bad_length "For a service, with a length field that the frame contradicts."
    BadChecksum drop_bad_checksum "For a service, with a wrong IPv4 header checksum."
    BadSource drop_bad_source "For a service, from an address that no host may send from."
    NoBackend drop_no_backend "A new flow of a service of which no backend can take it."
    NoNeighbour drop_no_neighbour "A mapped flow whose backend's neighbour has never been resolved."
    ResetWithoutFlow drop_reset_without_flow "A TCP reset that belongs to no flow."
    TupleConflict drop_tuple_conflict "A new flow that its backends could not tell from another live one."
    NoPort drop_no_port "Its way out leads to an interface that the dispatcher is not attached to."
    Upcall upcall "Sent up: the first packet of a flow, which placed its client's lock."
    UpcallLocked upcall_locked "Sent up: its client's lock stands."
    UpcallHeld upcall_held "Sent up: its flow is mapped, but earlier packets of it are still with the daemon."
    UpcallRefused upcall_refused "Not sent up because the ring buffer was full; picked in the kernel instead."
    FlowsByAffinity flows_by_affinity "New flow, made in the kernel from its client's entry."
    FlowsByHash flows_by_hash "New flow, made in the kernel by a deterministic scheduler."
    PickedInKernel picked_in_kernel "New flow, picked by the ring in the kernel because the daemon was full or gone."
    FlowsLocal flows_local "New flow of a service whose TLS ends here."
    FlowTableFull flow_table_full "New flow, forwarded without an entry because the table refused it."
    LockTableFull lock_table_full "First packet that could place no lock because their table is full."
}

impl Counter {
    /// Packets handed to the kernel untouched, by reason.
    pub const PASSED: &'static [Self] = &[
        Self::NotOurs,
        Self::NotOursMalformed,
        Self::Fragment,
        Self::Tagged,
        Self::TtlExpired,
        Self::Secure,
        Self::LeaseOver,
    ];

    /// Packets dropped, by reason.
    pub const DROPPED: &'static [Self] = &[
        Self::BadHeader,
        Self::BadLength,
        Self::BadChecksum,
        Self::BadSource,
        Self::NoBackend,
        Self::NoNeighbour,
        Self::ResetWithoutFlow,
        Self::TupleConflict,
        Self::NoPort,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_whether_a_packet_was_passed_or_dropped() {
        for &counter in Counter::ALL {
            assert_eq!(counter.name().starts_with("pass_"), Counter::PASSED.contains(&counter), "{counter:?}");
            assert_eq!(counter.name().starts_with("drop_"), Counter::DROPPED.contains(&counter), "{counter:?}");
        }
    }

    #[test]
    fn a_counter_counts_in_its_own_field() {
        let mut stats = Stats::default();
        stats.add(Counter::NoBackend);
        stats.merge(&stats.clone());
        assert_eq!(stats, Stats { drop_no_backend: 2, ..Stats::default() });
        assert_eq!(stats.count(Counter::NoBackend), 2);
    }
}
