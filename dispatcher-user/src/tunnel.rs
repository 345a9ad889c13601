//! The backend side of the request path: TLS tunnels that stand before a request needs one.
//!
//! A [`pool::Pool`] belongs to one backend. It has numbered *slots*; each holds one tunnel at a time and opens the next
//! before it gives up the last, so that a slot's number means the same for as long as the pool lives.
//!
//! ```text
//!                 choose(preferred)            send
//!   request ───────────▶ Pool ───▶ Lease ───────────────▶ Connection ──TLS──▶ backend
//!                         ▲ table      │ given back when      ▲
//!                         │            │ the body ended       │ installs, watches, replaces
//!                         └────────────┴──────────────── Slot (a task) ── dial, back off, ping, renew
//! ```
//!
//! Slots below `Settings::kept` are opened at the start and kept. They speak HTTP/2 where the backend does, and then
//! carry many requests at once. The slots above hold HTTP/1.1 tunnels, one request each: they are opened ahead of need
//! where the backend has no HTTP/2, and for upgrades (WebSocket), and closed when nobody needs them.
//!
//! What a request costs here: one short lock of the pool's table, and on HTTP/2 no task and no channel of its own.
//! HTTP/2 is spoken through `h2` itself, because hyper's client spawns a task and crosses two channels for each request,
//! and does not tell a request that the backend refused from one that it may have carried out.

use std::error::Error;

use bytes::Bytes;
use http_body::Body;

pub mod context;
pub mod error;
pub mod lease;
pub mod pool;
pub mod response;
pub mod settings;
pub mod tls;
pub mod upgrade;

mod backoff;
mod choice;
mod connection;
mod dial;
mod drive;
mod held;
mod home;
mod http1;
mod http2;
mod meter;
mod open;
mod slot;
mod table;
mod target;
mod upload;
mod view;

/// What the body of a request must be: one type for all requests of a pool.
///
/// An enum is best: nothing is allocated for a request, and one without a body says so at once (`is_end_stream`), which
/// saves a frame. It is polled as fast as the backend takes what it gives, and no faster. Its error is a type of its own
/// and not a boxed one, because the compiler cannot prove that a future which converts those can change threads.
pub trait RequestBody: Body<Data = Bytes, Error: Error + Send + Sync + 'static> + Send + Unpin + 'static {}

impl<B: Body<Data = Bytes, Error: Error + Send + Sync + 'static> + Send + Unpin + 'static> RequestBody for B {}
