//! Writes QoS classes.

use serde::Serialize;

use super::duration;
use crate::{
    config::quantity::{write_bytes, write_rate},
    core::model::{ClassMatch, QosClassSpec, Rate},
};

#[derive(Serialize)]
pub(super) struct ClassSection<'a> {
    name: &'a str,
    priority: u8,
    weight: u16,
    share: u8,
    queue: Queue,
    timeout: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_rate: Option<String>,
    #[serde(rename = "match", skip_serializing_if = "Vec::is_empty")]
    matches: Vec<Match<'a>>,
}

#[derive(Serialize)]
struct Queue {
    entries: u32,
    bytes: String,
}

#[derive(Serialize)]
struct Match<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sni: Option<&'a str>,
}

impl<'a> From<&'a QosClassSpec> for ClassSection<'a> {
    fn from(class: &'a QosClassSpec) -> Self {
        Self {
            name: &class.name,
            priority: class.priority,
            weight: class.weight,
            share: class.share_percent,
            queue: Queue { entries: class.queue.entries, bytes: write_bytes(class.queue.bytes) },
            timeout: duration(class.timeout),
            rate: class.rate.map(write_rate),
            client_rate: class.client_rate.map(|requests| write_rate(Rate::Requests(requests))),
            matches: class.matches.iter().map(Match::from).collect(),
        }
    }
}

impl<'a> From<&'a ClassMatch> for Match<'a> {
    fn from(found: &'a ClassMatch) -> Self {
        Self {
            header: found.header.as_ref().map(|header| header.as_str()),
            source: found.source.map(|source| source.to_string()),
            path: found.path.as_ref().map(|path| path.as_str()),
            sni: found.sni.as_ref().map(|sni| sni.as_str()),
        }
    }
}
