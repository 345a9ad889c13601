//! The commands on sessions, tunnels and QoS classes.

use clap::Subcommand;

use crate::{
    cli::values::{self, BackendName, ClassSetting, name},
    core::sessions::SessionId,
};

/// `session`
#[derive(Debug, Subcommand)]
pub enum Session {
    /// Lists sessions
    List {
        /// Those of this service
        #[arg(long, value_name = "SERVICE", value_parser = name, conflicts_with = "backend")]
        service: Option<String>,
        /// Those that this backend has
        #[arg(long, value_name = "SERVICE/BACKEND")]
        backend: Option<BackendName>,
        /// At most so many
        #[arg(long, value_name = "1-100000", default_value = "1000", value_parser = values::limit)]
        limit: u32,
    },
    /// Shows a session: its backend and tunnel, and its client's TLS connections
    Show {
        /// Its ID, as `session list` shows it
        #[arg(value_name = "ID")]
        session: SessionId,
    },
    /// Gives a session to another backend
    Move {
        /// Its ID, as `session list` shows it
        #[arg(value_name = "ID")]
        session: SessionId,
        /// To which
        #[arg(value_name = "SERVICE/BACKEND")]
        backend: BackendName,
    },
    /// Ends a session; the client's next request begins another
    Remove {
        /// Its ID, as `session list` shows it
        #[arg(value_name = "ID")]
        session: SessionId,
    },
}

/// `tunnel`
#[derive(Debug, Subcommand)]
pub enum Tunnel {
    /// Lists the tunnels of a service, or of all
    List {
        /// The service's name
        #[arg(value_name = "SERVICE", value_parser = name)]
        service: Option<String>,
    },
    /// Shows a backend's tunnels, and what happened to them
    Show {
        /// Which
        #[arg(value_name = "SERVICE/BACKEND")]
        backend: BackendName,
    },
    /// Replaces a backend's tunnels, or one of them; requests on them are answered first
    Reset {
        /// Which
        #[arg(value_name = "SERVICE/BACKEND")]
        backend: BackendName,
        /// The number of one, as `tunnel list` shows it
        #[arg(value_name = "TUNNEL")]
        tunnel: Option<u16>,
    },
}

/// `qos`
#[derive(Debug, Subcommand)]
pub enum Qos {
    /// Lists all classes: what is set for them, what waits, and what became of their requests
    List,
    /// Changes a class
    Set {
        /// Its name
        #[arg(value_name = "CLASS", value_parser = name)]
        class: String,
        /// priority=…, weight=…, share=…, rate=…, client_rate=…, timeout=…, entries=… or bytes=…
        #[arg(value_name = "KEY=VALUE", required = true)]
        settings: Vec<ClassSetting>,
    },
}
