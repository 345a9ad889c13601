//! Reads a TOML document section by section, and collects everything that is wrong instead of stopping at the first.
//!
//! Serde's derive would stop at the first mistake, and says of a key that it does not know neither which one was meant
//! nor that a later version may know it.

use std::ops::{Range, RangeInclusive};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    problem::{Fault, Problem, SECTIONS},
    words::{Word, nearest},
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

    /// A string that must be there, and that something can be made of.
    pub(super) fn required<T, E: Into<Problem>>(
        &self,
        key: &'static str,
        example: &'static str,
        faults: &mut Faults,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Placed<T>> {
        if self.value(key).is_none() {
            faults.add(&self.span, Problem::MissingKey { section: self.schema.name, key, example });
        }
        self.parsed(key, faults, parse)
    }

    /// A string that something can be made of.
    pub(super) fn parsed<T, E: Into<Problem>>(
        &self,
        key: &'static str,
        faults: &mut Faults,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Placed<T>> {
        let Placed { value, span } = self.text(key, faults)?;
        let value = faults.check(&span, parse(value))?;
        Some(Placed { value, span })
    }

    /// One of a choice's words.
    pub(super) fn word<W: Word>(&self, key: &'static str, faults: &mut Faults) -> Option<W> {
        self.parsed(key, faults, W::named).map(|word| word.value)
    }

    /// A whole number.
    pub(super) fn number(&self, key: &'static str, faults: &mut Faults) -> Option<Placed<i64>> {
        let value = self.value(key)?;
        let Some(number) = value.get_ref().as_integer() else {
            faults.add(&value.span(), wrong_type(key, value, "a whole number"));
            return None;
        };
        let (text, radix) = (number.as_str(), number.radix());
        // A number that does not fit is out of every range, and no range reaches that far.
        let limit = if text.starts_with('-') { i64::MIN } else { i64::MAX };
        Some(Placed { value: i64::from_str_radix(text, radix).unwrap_or(limit), span: value.span() })
    }

    /// A whole number within a range.
    pub(super) fn number_within(
        &self,
        key: &'static str,
        range: RangeInclusive<i64>,
        faults: &mut Faults,
    ) -> Option<i64> {
        let Placed { value, span } = self.number(key, faults)?;
        if range.contains(&value) {
            return Some(value);
        }
        faults.add(&span, Problem::Range { key, number: value, least: *range.start(), most: *range.end() });
        None
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
