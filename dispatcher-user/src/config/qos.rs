//! Reads the QoS classes of a configuration file.

use super::{
    document::{Faults, Placed, Schema, Section},
    problem::Problem,
    quantity::{parse_rate, parse_requests},
    rules::{
        RuleError, check_name,
        secure::{
            CLASS_TIMEOUT, CLASS_WEIGHT, MAX_LIST, PRIORITY, QUEUE_BYTES, QUEUE_ENTRIES, SHARE, check_list, check_rate,
            shares,
        },
    },
};
use crate::core::model::{ClassMatch, DEFAULT_CLASS, MAX_CLASSES, QosClassSpec, QueueSpec, Refusal, check_shares};

pub(super) const CLASS: Schema = Schema {
    name: "[[qos]]",
    keys: &["name", "priority", "weight", "share", "queue", "timeout", "rate", "client_rate", "match"],
    not_built: &[],
};
const QUEUE: Schema = Schema { name: "a queue", keys: &["entries", "bytes"], not_built: &[] };
const MATCH: Schema = Schema { name: "a match", keys: &["header", "source", "path", "sni"], not_built: &[] };

/// Reads classes: the default one, and the others in the order of the file.
pub(super) fn read_classes(sections: &[Section<'_, '_>], faults: &mut Faults) -> Vec<QosClassSpec> {
    let mut classes: Vec<QosClassSpec> = Vec::new();
    for section in sections {
        let Some(Placed { value: class, span }) = read_class(section, faults) else { continue };
        if classes.iter().any(|other| other.name == class.name) {
            faults.add(&span, Problem::ClassTwice(class.name.clone()));
            continue;
        }
        let share = section.key_span("share").unwrap_or_else(|| span.clone());
        faults.check(&share, check_shares(shares(&classes), class.share_percent));
        classes.push(class);
        if classes.len() > MAX_CLASSES {
            faults.add(&span, Refusal::Full { what: "QoS classes", capacity: MAX_CLASSES });
            break;
        }
    }
    with_default(classes)
}

/// Puts the default class in front, made if it is missing: a class's number is its place, and the default one is known by
/// number 0.
pub(super) fn with_default(mut classes: Vec<QosClassSpec>) -> Vec<QosClassSpec> {
    let named = classes.iter().position(|class| class.name == DEFAULT_CLASS);
    let default = named.map_or_else(|| QosClassSpec::named(DEFAULT_CLASS), |place| classes.remove(place));
    classes.insert(0, default);
    classes
}

fn read_class(section: &Section<'_, '_>, faults: &mut Faults) -> Option<Placed<QosClassSpec>> {
    let name = section.required("name", "\"gold\"", faults, |text| check_name(text).map(|()| text.to_owned()));
    let usual = QosClassSpec::named(DEFAULT_CLASS);
    let priority = section.count("priority", &PRIORITY, faults).unwrap_or(usual.priority);
    let weight = section.count("weight", &CLASS_WEIGHT, faults).unwrap_or(usual.weight);
    let share_percent = section.count("share", &SHARE, faults).unwrap_or(usual.share_percent);
    let queue = read_queue(section, faults);
    let timeout = section.duration("timeout", CLASS_TIMEOUT, faults).unwrap_or(usual.timeout);
    let rate = section.parsed("rate", faults, parse_rate);
    let rate = rate.filter(|rate| faults.check(&rate.span, check_rate(rate.value)).is_some()).map(|rate| rate.value);
    let client_rate = section.parsed("client_rate", faults, parse_requests);
    if let Some(Placed { value: 0, span }) = &client_rate {
        faults.add(span, RuleError::Empty("client_rate"));
    }
    let client_rate = client_rate.map(|rate| rate.value);
    let matches = read_matches(section, faults);
    let Placed { value: name, span } = name?;
    if name == DEFAULT_CLASS && !matches.is_empty() {
        // It takes what is left: a match would look as if it did not.
        let at = section.key_span("match").unwrap_or_else(|| span.clone());
        faults.add(&at, Problem::DefaultMatch);
    }
    let class = QosClassSpec { name, priority, weight, share_percent, queue, timeout, rate, client_rate, matches };
    Some(Placed { value: class, span })
}

fn read_queue(section: &Section<'_, '_>, faults: &mut Faults) -> QueueSpec {
    let usual = QueueSpec::default();
    let Some(section) = section.section("queue", &QUEUE, faults) else { return usual };
    QueueSpec {
        entries: section.count("entries", &QUEUE_ENTRIES, faults).unwrap_or(usual.entries),
        bytes: section.bytes("bytes", &QUEUE_BYTES, faults).unwrap_or(usual.bytes),
    }
}

fn read_matches(section: &Section<'_, '_>, faults: &mut Faults) -> Vec<ClassMatch> {
    let sections = section.one_or_more("match", &MATCH, faults);
    if let Some(section) = sections.get(MAX_LIST) {
        faults.check(&section.span, check_list("matches", sections.len()));
    }
    sections.iter().map(|section| read_match(section, faults)).collect()
}

fn read_match(section: &Section<'_, '_>, faults: &mut Faults) -> ClassMatch {
    let before = faults.0.len();
    let found = ClassMatch {
        header: section.parsed("header", faults, str::parse).map(|header| header.value),
        source: section.parsed("source", faults, str::parse).map(|source| source.value),
        path: section.parsed("path", faults, str::parse).map(|path| path.value),
        sni: section.parsed("sni", faults, str::parse).map(|sni| sni.value),
    };
    if faults.0.len() == before && found == ClassMatch::default() {
        faults.add(&section.span, Problem::EmptyRule { section: MATCH.name, keys: MATCH.keys });
    }
    found
}
