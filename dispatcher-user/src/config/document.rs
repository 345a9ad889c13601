//! Reads a TOML document section by section, and collects everything that is wrong instead of stopping at the first.
//!
//! Serde's derive would stop at the first mistake, and says of a key that it does not know neither which one was meant
//! nor that a later version may know it.

mod values;

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use super::{
    problem::{Fault, Problem, SECTIONS},
    words::nearest,
};

/// The keys of a section.
pub(super) struct Schema {
    /// How the section is written.
    pub(super) name: &'static str,
    /// Keys that it takes.
    pub(super) keys: &'static [&'static str],
    /// Keys that a later version may take, and how a reader knows them.
    pub(super) not_built: &'static [(&'static str, &'static str)],
}

/// A section whose keys are all known.
pub(super) struct Section<'t, 'd> {
    schema: &'static Schema,
    table: &'t DeTable<'d>,
    /// Its header.
    pub(super) span: Range<usize>,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// Everything wrong so far.
#[derive(Default)]
pub(super) struct Faults(pub(super) Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, span: &Range<usize>, problem: impl Into<Problem>) {
        self.0.push(Fault { problem: problem.into(), span: span.clone() });
    }

    /// Passes a value on, or takes note of why there is none.
    pub(super) fn check<T, E: Into<Problem>>(&mut self, span: &Range<usize>, outcome: Result<T, E>) -> Option<T> {
        outcome.map_err(|problem| self.add(span, problem)).ok()
    }
}

impl<'t, 'd> Section<'t, 'd> {
    /// Takes a table as a section; keys that it does not have are faults.
    pub(super) fn open(
        schema: &'static Schema,
        table: &'t DeTable<'d>,
        span: Range<usize>,
        faults: &mut Faults,
    ) -> Self {
        for key in table.keys() {
            let name: &str = key.get_ref();
            if schema.keys.contains(&name) {
                continue;
            }
            let problem = match schema.not_built.iter().find(|(not_built, _)| *not_built == name) {
                Some((_, shown)) => Problem::NotBuilt((*shown).to_owned()),
                None => Problem::UnknownKey {
                    key: name.to_owned(),
                    meant: nearest(name, schema.keys),
                    section: schema.name,
                    keys: schema.keys,
                },
            };
            faults.add(&key.span(), problem);
        }
        Self { schema, table, span }
    }

    fn value(&self, key: &'static str) -> Option<&'t Spanned<DeValue<'d>>> {
        debug_assert!(self.schema.keys.contains(&key), "{} has no `{key}`", self.schema.name);
        self.table.iter().find(|(known, _)| known.get_ref() == key).map(|(_, value)| value)
    }

    /// A string.
    fn text(&self, key: &'static str, faults: &mut Faults) -> Option<Placed<&'t str>> {
        let value = self.value(key)?;
        let Some(text) = value.get_ref().as_str() else {
            faults.add(&value.span(), wrong_type(key, value, "a string"));
            return None;
        };
        Some(Placed { value: text, span: value.span() })
    }

    /// Where a key stands, if it is there.
    pub(super) fn key_span(&self, key: &'static str) -> Option<Range<usize>> {
        self.table.keys().find(|known| known.get_ref() == key).map(Spanned::span)
    }

    /// A section that comes once, or not at all.
    pub(super) fn section(&self, key: &'static str, schema: &'static Schema, faults: &mut Faults) -> Option<Self> {
        let value = self.value(key)?;
        let Some(table) = value.get_ref().as_table() else {
            faults.add(&value.span(), wrong_type(key, value, "a section"));
            return None;
        };
        Some(Self::open(schema, table, value.span(), faults))
    }

    /// Sections that may come more than once.
    pub(super) fn sections(&self, key: &'static str, schema: &'static Schema, faults: &mut Faults) -> Vec<Self> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            faults.add(&value.span(), wrong_type(key, value, SECTIONS));
            return Vec::new();
        };
        Self::open_each(key, array, schema, faults)
    }

    /// Sections that may come more than once, or one that stands for itself.
    pub(super) fn one_or_more(&self, key: &'static str, schema: &'static Schema, faults: &mut Faults) -> Vec<Self> {
        match self.value(key).map(Spanned::get_ref) {
            Some(DeValue::Table(_)) => self.section(key, schema, faults).into_iter().collect(),
            _ => self.sections(key, schema, faults),
        }
    }

    fn open_each(key: &'static str, array: &'t DeArray<'d>, schema: &'static Schema, faults: &mut Faults) -> Vec<Self> {
        let mut sections = Vec::new();
        for element in array {
            match element.get_ref().as_table() {
                Some(table) => sections.push(Self::open(schema, table, element.span(), faults)),
                None => faults.add(&element.span(), wrong_type(key, element, SECTIONS)),
            }
        }
        sections
    }
}

fn wrong_type(key: &str, found: &Spanned<DeValue<'_>>, expected: &'static str) -> Problem {
    let found = match found.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a section",
    };
    Problem::WrongType { key: key.to_owned(), found, expected }
}
