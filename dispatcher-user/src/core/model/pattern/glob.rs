//! Text with `*` in it: each stands for any bytes, none included.

/// A byte, or any bytes.
#[derive(Clone, Copy, Debug)]
enum Piece {
    Byte(u8),
    Any,
}

/// A compiled text with `*`.
#[derive(Clone, Debug)]
pub(super) struct Glob(Box<[Piece]>);

impl Glob {
    /// Takes every `*` of `text` for any bytes. `literal` makes what stands between them comparable: decodes it, or
    /// puts it into lower case.
    pub(super) fn new<'a, I: Iterator<Item = u8>>(text: &'a str, literal: impl Fn(&'a str) -> I) -> Self {
        let mut pieces = Vec::new();
        for (index, part) in text.split('*').enumerate() {
            // Two in a row say no more than one.
            if index > 0 && !matches!(pieces.last(), Some(Piece::Any)) {
                pieces.push(Piece::Any);
            }
            pieces.extend(literal(part).map(Piece::Byte));
        }
        Self(pieces.into())
    }

    /// True if it matches all of `text`.
    ///
    /// Two positions and the last `*`: where a byte differs, that `*` takes one byte more (Krauss, "Matching Wildcards:
    /// An Algorithm", 2008). An earlier `*` need never be tried again.
    pub(super) fn matches(&self, mut text: impl Iterator<Item = u8> + Clone) -> bool {
        let mut pieces = self.0.iter();
        let mut last_any = None;
        loop {
            let mut next = text.clone();
            match (pieces.clone().next(), next.next()) {
                (Some(Piece::Any), _) => {
                    pieces.next();
                    last_any = Some((pieces.clone(), text.clone()));
                }
                (Some(Piece::Byte(wanted)), Some(found)) if *wanted == found => {
                    pieces.next();
                    text = next;
                }
                (None, None) => return true,
                (Some(Piece::Byte(_)) | None, _) => {
                    let Some((after, from)) = &mut last_any else { return false };
                    if from.next().is_none() {
                        return false;
                    }
                    (pieces, text) = (after.clone(), from.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::new(pattern, |part| part.as_bytes().to_vec().into_iter()).matches(text.bytes())
    }

    #[test]
    fn a_star_stands_for_any_bytes() {
        for (pattern, text) in
            [("", ""), ("*", ""), ("*", "abc"), ("a*c", "ac"), ("a*c", "abcbc"), ("**b*", "ab"), ("*a*b", "xaxbxb")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("a", ""), ("a*", "ba"), ("*a", "ab"), ("a*c", "acb"), ("a*b*c", "acb")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    /// What the definition says, word by word.
    fn defined(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|taken| defined(rest, &text[taken..])),
            Some((byte, rest)) => text.first() == Some(byte) && defined(rest, &text[1..]),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn it_matches_what_the_definition_matches(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(matches(&pattern, &text), defined(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
