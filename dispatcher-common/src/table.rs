//! Names and capacities of the BPF tables, written once for the program, the daemon and the pins.

/// Services that a dispatcher can hold.
pub const MAX_SERVICES: usize = 256;
/// Backends of all services together.
pub const MAX_BACKENDS: usize = 4096;
/// Interfaces that packets can leave by.
pub const MAX_PORTS: usize = 64;
/// Flow entries of each family, unless the daemon is told otherwise; a `nat` flow takes two.
pub const DEFAULT_FLOWS: usize = 262_144;
/// Client entries.
pub const MAX_CLIENTS: usize = 262_144;
/// Client locks that stand at one time.
pub const MAX_LOCKS: usize = 65_536;
/// Sessions of all services of mode `secure`.
pub const MAX_SESSIONS: usize = 131_072;
/// Rings: two for each service, one in force and one being written.
pub const MAX_RINGS: usize = 2 * MAX_SERVICES;
/// Bytes of the ring buffer that carries first packets up.
pub const EVENT_BYTES: usize = 16 * 1024 * 1024;

/// Service key to service.
pub const SERVICES: &str = "dsp_services";
/// Backend ID to backend.
pub const BACKENDS: &str = "dsp_backends";
/// IPv4 flows.
pub const FLOWS4: &str = "dsp_flows4";
/// IPv6 flows.
pub const FLOWS6: &str = "dsp_flows6";
/// Client entries.
pub const CLIENTS: &str = "dsp_clients";
/// Client locks.
pub const LOCKS: &str = "dsp_locks";
/// Sessions.
pub const SESSIONS: &str = "dsp_sessions";
/// Per-backend counters.
pub const BACKEND_STATS: &str = "dsp_be_stats";
/// Counters of the program.
pub const STATS: &str = "dsp_stats";
/// The daemon's word to the program.
pub const CONFIG: &str = "dsp_config";
/// Consistent-hash rings.
pub const RINGS: &str = "dsp_rings";
/// The way up: first packets.
pub const EVENTS: &str = "dsp_events";
/// Interfaces to redirect to.
pub const PORTS: &str = "dsp_ports";

/// The programs that the attached one continues with.
pub const PROGRAMS: &str = "dsp_programs";

/// Every table, in the order in which they are pinned. The pin's name is the table's.
pub const PINNED: [&str; 14] = [
    SERVICES,
    BACKENDS,
    FLOWS4,
    FLOWS6,
    CLIENTS,
    LOCKS,
    SESSIONS,
    BACKEND_STATS,
    STATS,
    CONFIG,
    RINGS,
    EVENTS,
    PORTS,
    PROGRAMS,
];

/// The programs that the attached one continues with, and their places in [`PROGRAMS`].
pub mod program {
    /// Place of the program for packets without a flow.
    pub const UNMAPPED: u32 = 0;
    /// Place of the program that logs rare events.
    pub const LOG: u32 = 1;

    /// Name of each program, in the order of their places.
    pub const NAMES: [&str; 2] = ["dispatcher_unmapped", "dispatcher_log"];
}
