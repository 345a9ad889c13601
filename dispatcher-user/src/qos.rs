//! QoS: which request goes to a backend next, and whose upload.
//!
//! HTTP/2 sends what it is given first in, first out, so the schedule sits above the tunnels: a backend is given a window
//! of requests at a time, and all others wait here.
//!
//! ```text
//!  request ─▶ admission ─▶ queue of its class ─▶ precedence ─▶ slots ─▶ permit ─▶ tunnel ─▶ backend
//!             waits, or    clients take turns;   levels,      window,   finished, or
//!             is refused   newest first under    shares,      reserves, abandoned
//!                          overload              weights      spacing
//!                                       body ─▶ uplink (slices take turns) ─▶ tunnel
//! ```
//!
//! The daemon makes [`classes::Classes`] once and an [`admission::Admission`] for each backend, and runs its `tend`. A
//! request asks ([`Ask`]), gets a [`admission::Permit`], wraps its body with `Permit::body` if it has a large one, and says
//! when it is over. Everything below is without I/O: [`scheduler::Scheduler`] is handed events and the time.
//!
//! What is promised, and where the schedule has to give way:
//! - A request of the highest level waits for the next slot to become free at most, and there is one free or soon to be:
//!   some are reserved, and lower levels' starts are spread over time.
//! - No class starves: shares are guaranteed, and what waits for long has a small one.
//! - A greedy client gets no more than a modest one of the same class.
//! - Under overload the backend works for clients that still wait: the newest request goes first.
//! - A client that leaves does not make the backend busier: its slot stays taken for the usual time.
//! - A client that sends slowly holds no slot meanwhile.
//! - Whatever waits is bounded; what is refused is counted by reason and told when to come again.

pub mod admission;
pub mod classes;
pub mod scheduler;
pub mod settings;
pub mod uplink;
pub mod view;

mod histogram;
mod pool;
mod precedence;
mod queue;
mod rate;
mod request;
mod slots;
mod spacing;
mod usual;
mod window;

#[cfg(test)]
mod simulation;

pub use self::request::{Ask, Ticket};
