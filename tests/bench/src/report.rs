//! What a bench found: rows of samples and targets, on what machine; written as Markdown, JSON and plots.

mod markdown;
mod plot;

use crate::{machine::Machine, statistics::Samples};
use anyhow::{Context as _, Result};
use serde::Serialize;
use std::{fs, path::Path};

/// Everything one run of a bench found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The bench: `packet` or `request`; also the name of its files.
    pub bench: &'static str,
    /// Whether it was a short run, whose numbers say little.
    pub quick: bool,
    /// What it ran on.
    pub machine: Machine,
    /// What was measured.
    pub sections: Vec<Section>,
}

/// One row of the design's table: subjects that were measured alike.
#[derive(Debug, Serialize)]
pub struct Section {
    /// Its name, such as `packet/cost`.
    pub name: &'static str,
    /// The unit of its rows.
    pub unit: &'static str,
    /// Which values are better.
    pub better: Better,
    /// What was measured.
    pub rows: Vec<Row>,
    /// What is aimed at.
    pub targets: Vec<Target>,
    /// What a reader must know to judge the numbers.
    pub notes: Vec<String>,
}

/// Which values are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Small ones.
    Lower,
    /// Great ones.
    Higher,
}

/// What one subject did in one case.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The case, such as `one hot flow`.
    pub case: String,
    /// Who was measured.
    pub subject: String,
    /// One value a round.
    pub samples: Samples,
}

/// Something that is aimed at, and how near we came.
#[derive(Debug, Serialize)]
pub struct Target {
    /// What the samples are.
    pub what: String,
    /// The bound.
    pub bound: f64,
    /// Which side of the bound is good.
    pub better: Better,
    /// One value a round; the median is compared.
    pub samples: Samples,
}

impl Section {
    /// A section without rows.
    #[must_use]
    pub const fn new(name: &'static str, unit: &'static str, better: Better) -> Self {
        Self { name, unit, better, rows: Vec::new(), targets: Vec::new(), notes: Vec::new() }
    }
}

impl Row {
    /// What `subject` did in `case`.
    #[must_use]
    pub fn new(case: &str, subject: &str, samples: Samples) -> Self {
        Self { case: case.to_owned(), subject: subject.to_owned(), samples }
    }
}

impl Target {
    /// The samples should be `bound` or less.
    #[must_use]
    pub fn at_most(what: &str, bound: f64, samples: Samples) -> Self {
        Self { what: what.to_owned(), bound, better: Better::Lower, samples }
    }

    /// The samples should be `bound` or more.
    #[must_use]
    pub fn at_least(what: &str, bound: f64, samples: Samples) -> Self {
        Self { what: what.to_owned(), bound, better: Better::Higher, samples }
    }

    /// Whether the median is on the good side; not if there is none.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.samples.summary().is_some_and(|summary| match self.better {
            Better::Lower => summary.median <= self.bound,
            Better::Higher => summary.median >= self.bound,
        })
    }
}

impl Report {
    /// The tables, as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        markdown::render(self)
    }

    /// Writes `<bench>.md`, `<bench>.json` and a plot for each section into a folder.
    ///
    /// # Errors
    /// If a file cannot be written or a plot not drawn.
    pub fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let put = |name: String, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        put(format!("{}.md", self.bench), self.markdown())?;
        put(format!("{}.json", self.bench), serde_json::to_string_pretty(self)?)?;
        for section in &self.sections {
            let name = format!("{}.svg", section.name.replace('/', "-"));
            put(name, plot::draw(section).with_context(|| format!("cannot draw {}", section.name))?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_on_its_good_side_alone() {
        let samples: Samples = [1.2, 1.3, 9.0].into_iter().collect();
        assert!(Target::at_most("cost", 1.3, samples.clone()).is_met());
        assert!(!Target::at_most("cost", 1.29, samples.clone()).is_met());
        assert!(Target::at_least("rate", 1.3, samples.clone()).is_met());
        assert!(!Target::at_least("rate", 1.31, samples).is_met());
        assert!(!Target::at_least("rate", 0.0, Samples::default()).is_met());
    }
}
