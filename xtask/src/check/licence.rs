//! Decides whether a licence expression (SPDX) can be met with a list of allowed licences.

/// Whether one may use a work of that licence when only these are allowed.
///
/// OR needs one side, AND both; a licence WITH an exception must be allowed in these words.
/// The older `A/B` means `A OR B`. What cannot be read is not allowed.
pub(super) fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, allowed };
    reader.any() == Some(true) && reader.words.is_empty()
}

struct Reader<'a> {
    words: &'a [&'a str],
    allowed: &'a [String],
}

impl Reader<'_> {
    fn takes(&mut self, word: &str) -> bool {
        match self.words {
            [first, rest @ ..] if *first == word => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }

    /// expression: all { OR all }
    fn any(&mut self) -> Option<bool> {
        let mut is_allowed = self.all()?;
        while self.takes("OR") {
            is_allowed |= self.all()?;
        }
        Some(is_allowed)
    }

    /// all: one { AND one }
    fn all(&mut self) -> Option<bool> {
        let mut is_allowed = self.one()?;
        while self.takes("AND") {
            is_allowed &= self.one()?;
        }
        Some(is_allowed)
    }

    /// one: ( expression ) | name [ WITH exception ]
    fn one(&mut self) -> Option<bool> {
        if self.takes("(") {
            let is_allowed = self.any()?;
            return self.takes(")").then_some(is_allowed);
        }
        let (&name, rest) = self.words.split_first()?;
        self.words = rest;
        if !self.takes("WITH") {
            return Some(self.allowed.iter().any(|allowed| allowed == name));
        }
        let (&exception, rest) = self.words.split_first()?;
        self.words = rest;
        Some(self.allowed.contains(&format!("{name} WITH {exception}")))
    }
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

    #[test]
    fn expressions_are_read_as_spdx_means_them() {
        let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        let rows = [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("MIT OR GPL-3.0-only", true),
            ("MIT/Apache-2.0", true),
            ("MIT AND GPL-3.0-only", false),
            ("(MIT OR GPL-3.0-only) AND Apache-2.0", true),
            ("GPL-2.0-only OR MIT AND GPL-3.0-only", false),
            ("Apache-2.0 WITH LLVM-exception OR GPL-3.0-only", true),
            ("MIT WITH LLVM-exception", false),
            ("(MIT", false),
            ("MIT MIT", false),
            ("", false),
        ];
        for (expression, expected) in rows {
            assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
        }
    }
}
