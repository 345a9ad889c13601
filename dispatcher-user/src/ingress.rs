//! The client's side of the request path: accepts connections, ends TLS, speaks HTTP.

pub mod cookie;
pub mod keys;
pub mod rules;
