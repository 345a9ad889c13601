//! Writes a report as Markdown.

use super::{Better, Report, Row, Section, Target};
use crate::statistics::Samples;
use std::fmt::Write as _;

/// The whole report.
pub(super) fn render(report: &Report) -> String {
    let mut text = format!("# bench {}{}\n\n", report.bench, if report.quick { " (quick)" } else { "" });
    for (what, value) in report.machine.facts() {
        let _infallible = writeln!(text, "- {what}: {value}");
    }
    report.sections.iter().for_each(|section| section_into(&mut text, section));
    text
}

fn section_into(text: &mut String, section: &Section) {
    let better = match section.better {
        Better::Lower => "lower",
        Better::Higher => "higher",
    };
    let Section { name, unit, .. } = section;
    let _infallible = writeln!(text, "\n## {name}\n\nIn {unit}; {better} is better.\n");
    text.push_str("| case | subject | median | min | max | n |\n|---|---|---:|---:|---:|---:|\n");
    for Row { case, subject, samples } in &section.rows {
        let _infallible = writeln!(text, "| {case} | {subject} | {} |", cells(samples));
    }
    if !section.targets.is_empty() {
        text.push_str("\n| target | bound | median | min | max | n | met |\n|---|---:|---:|---:|---:|---:|---|\n");
        section.targets.iter().for_each(|target| target_into(text, target));
    }
    for note in &section.notes {
        let _infallible = writeln!(text, "\n{note}");
    }
}

fn target_into(text: &mut String, target: &Target) {
    let sign = match target.better {
        Better::Lower => "≤",
        Better::Higher => "≥",
    };
    let met = if target.is_met() { "yes" } else { "**no**" };
    let (what, bound, found) = (&target.what, number(target.bound), cells(&target.samples));
    let _infallible = writeln!(text, "| {what} | {sign} {bound} | {found} | {met} |");
}

/// Median, least, greatest, and how many.
fn cells(samples: &Samples) -> String {
    samples.summary().map_or_else(
        || "no value | | | 0".to_owned(),
        |found| format!("{} | {} | {} | {}", number(found.median), number(found.min), number(found.max), found.count),
    )
}

/// Three significant digits, or all digits before the point, in groups of three.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    let places = match size {
        _ if size >= 100.0 || size == 0.0 => 0,
        _ if size >= 10.0 => 1,
        _ => 2,
    };
    let plain = format!("{size:.places$}");
    let (whole, rest) = plain.split_once('.').unwrap_or((&plain, ""));
    let mut text = if value < 0.0 { "-".to_owned() } else { String::new() };
    for (position, digit) in whole.chars().enumerate() {
        if position > 0 && (whole.len() - position).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    if rest.is_empty() { text } else { format!("{text}.{rest}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;

    #[test]
    fn numbers_are_as_exact_as_they_are_worth() {
        let rows = [
            (0.0, "0"),
            (0.934, "0.93"),
            (38.26, "38.3"),
            (285.4, "285"),
            (3_200_000.0, "3 200 000"),
            (-12_345.0, "-12 345"),
            (-345.0, "-345"),
        ];
        for (value, expected) in rows {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn a_report_shows_every_row_and_what_was_missed() {
        let mut section = Section::new("packet/cost", "ns per packet", Better::Lower);
        section.rows.push(Row::new("one hot flow", "dispatcher", [40.0, 42.0].into_iter().collect()));
        section.rows.push(Row::new("one hot flow", "absent", Samples::new()));
        section.targets.push(Target::at_most("hot / floor", 1.3, [1.5].into_iter().collect()));
        section.notes.push("Nothing else ran.".to_owned());
        let report = Report { bench: "packet", quick: true, machine: Machine::default(), sections: vec![section] };
        let text = report.markdown();
        for line in [
            "# bench packet (quick)",
            "| one hot flow | dispatcher | 41.0 | 40.0 | 42.0 | 2 |",
            "| one hot flow | absent | no value | | | 0 |",
            "| hot / floor | ≤ 1.30 | 1.50 | 1.50 | 1.50 | 1 | **no** |",
            "Nothing else ran.",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
