//! Sessions: which backend and tunnel a session ID leads to, as the `dsp_sessions` table holds them.
//!
//! The kernel reads none of this: requests are read in the daemon. The table is where a session outlives the daemon, and
//! where `bpftool` shows it.

/// Names a session: 128 random bits, or a hash of what a client without cookies calls itself.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The ID.
    pub id: [u8; 16],
}

/// One row of `dsp_sessions`. Times are of the monotonic clock, in nanoseconds.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Requests, as of the last second.
    pub requests: u64,
    /// Bytes of those requests and of their answers.
    pub bytes: u64,
    /// When the session began.
    pub created_ns: u64,
    /// When its last request came.
    pub last_seen_ns: u64,
    /// When it ends if no request comes.
    pub expires_ns: u64,
    /// Service ID.
    pub service: u16,
    /// Backend ID.
    pub backend: u16,
    /// The backend's generation when the session was given to it.
    pub generation: u16,
    /// Which of the backend's tunnels its requests ride.
    pub tunnel: u16,
    /// QoS class: its place in the configuration.
    pub class: u8,
    /// Always zero.
    pub pad: [u8; 7],
}
