//! The client's side of the request path: accepts connections, ends TLS, speaks HTTP.

pub mod accept;
pub mod answer;
pub mod body;
pub mod connection;
pub mod cookie;
pub mod counters;
pub mod download;
pub mod flight;
pub mod headers;
pub mod http;
pub mod identity;
pub mod keys;
pub mod limits;
pub mod proxy_protocol;
pub mod record;
pub mod redirect;
pub mod registry;
pub mod relay;
pub mod request;
pub mod retry;
pub mod route;
pub mod rules;
pub mod service;
pub mod tls;
pub mod vip;
pub mod wire;
