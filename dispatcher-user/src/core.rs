//! The dispatcher's decisions without its effects: events and `now` go in, commands come out.
//!
//! Nothing here knows sockets, tasks, BPF or a clock, so that a test, a simulation and the daemon run the same code.

pub mod dispatcher;
pub mod event;
pub mod lookup;
pub mod maglev;
pub mod model;
pub mod requests;
pub mod sessions;
pub mod view;

mod ahead;
mod backends;
mod balancer;
mod entry;
mod neighbours;
mod random;
mod rate;
mod services;
mod waiting;
