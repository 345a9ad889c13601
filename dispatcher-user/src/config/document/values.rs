//! The values of a section's keys, as what they are made into.

use std::{ops::RangeInclusive, time::Duration};

use super::{Faults, Placed, Section, wrong_type};
use crate::config::{
    problem::Problem,
    quantity::parse_bytes,
    rules::{RuleError, parse_duration},
    words::Word,
};

impl Section<'_, '_> {
    /// A string that must be there, and that something can be made of.
    pub(in crate::config) fn required<T, E: Into<Problem>>(
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
    pub(in crate::config) fn parsed<T, E: Into<Problem>>(
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
    pub(in crate::config) fn word<W: Word>(&self, key: &'static str, faults: &mut Faults) -> Option<W> {
        self.parsed(key, faults, W::named).map(|word| word.value)
    }

    /// A whole number.
    pub(in crate::config) fn number(&self, key: &'static str, faults: &mut Faults) -> Option<Placed<i64>> {
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
    pub(in crate::config) fn number_within(
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

    /// True or false.
    pub(in crate::config) fn flag(&self, key: &'static str, faults: &mut Faults) -> Option<bool> {
        let value = self.value(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            faults.add(&value.span(), wrong_type(key, value, "true or false"));
        }
        flag
    }

    /// Strings that something can be made of; `None` if the key is not there.
    pub(in crate::config) fn list<T, E: Into<Problem>>(
        &self,
        key: &'static str,
        faults: &mut Faults,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Placed<Vec<T>>> {
        const STRINGS: &str = "an array of strings";
        let value = self.value(key)?;
        let Some(array) = value.get_ref().as_array() else {
            faults.add(&value.span(), wrong_type(key, value, STRINGS));
            return None;
        };
        let mut list = Vec::new();
        for element in array {
            match element.get_ref().as_str() {
                Some(text) => list.extend(faults.check(&element.span(), parse(text))),
                None => faults.add(&element.span(), wrong_type(key, element, STRINGS)),
            }
        }
        Some(Placed { value: list, span: value.span() })
    }

    /// A whole number within a range, of the type that it is kept in; each such type holds the whole range.
    pub(in crate::config) fn count<T: TryFrom<i64>>(
        &self,
        key: &'static str,
        range: &RangeInclusive<i64>,
        faults: &mut Faults,
    ) -> Option<T> {
        self.number_within(key, range.clone(), faults).and_then(|number| T::try_from(number).ok())
    }

    /// A number of bytes within a range.
    pub(in crate::config) fn bytes<T: TryFrom<u64>>(
        &self,
        key: &'static str,
        range: &RangeInclusive<i64>,
        faults: &mut Faults,
    ) -> Option<T> {
        let Placed { value: bytes, span } = self.parsed(key, faults, parse_bytes)?;
        let (least, most) = (range.start().unsigned_abs(), range.end().unsigned_abs());
        if (least..=most).contains(&bytes) {
            return T::try_from(bytes).ok();
        }
        faults.add(&span, RuleError::BytesRange { bytes, least, most });
        None
    }

    /// A duration within a range.
    pub(in crate::config) fn duration(
        &self,
        key: &'static str,
        range: (Duration, Duration),
        faults: &mut Faults,
    ) -> Option<Duration> {
        self.parsed(key, faults, |text| parse_duration(text, range)).map(|duration| duration.value)
    }
}
