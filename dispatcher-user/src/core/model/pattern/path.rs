//! Patterns of request paths: `/cart/**`, `/api/*/orders`.
//!
//! `*` stands for anything within a segment, `**` for any number of segments, none included. Paths that RFC 3986 (6.2.2)
//! calls equivalent match alike: percent-encoding is decoded and `.` and `..` are resolved, because the backend does so
//! too, and a policy that can be walked around by writing `/%63art` is none. An encoded slash stays within its segment.
//! Upper and lower case differ (RFC 9110, 4.2.3).

use std::str::FromStr;

use super::{PatternError, check_length, glob::Glob};

/// A pattern of paths.
#[derive(Clone, Debug)]
pub struct PathPattern {
    pub(super) text: String,
    /// Segments in front of `**`, or all if there is none; the last one first, as [`RequestPath`] gives them.
    before: Vec<Glob>,
    /// Segments behind `**`, the last one first.
    after: Option<Vec<Glob>>,
}

/// The path of a request, without its query.
#[derive(Clone, Copy, Debug)]
pub struct RequestPath<'a> {
    path: &'a str,
    /// Segments that are left once `.` and `..` are resolved.
    count: usize,
}

impl<'a> RequestPath<'a> {
    /// The path `path`; nothing if it does not start at the root, as the `*` of OPTIONS does not.
    #[must_use]
    pub fn new(path: &'a str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        Some(Self { path, count: Segments::of(path).count() })
    }
}

impl PathPattern {
    /// True if it matches all of `path`.
    #[must_use]
    pub fn matches(&self, path: RequestPath<'_>) -> bool {
        let after = self.after.as_deref().unwrap_or_default();
        let any = path.count.checked_sub(self.before.len() + after.len());
        // Segments for `**`; without one there is none too many.
        let Some(any) = any.filter(|&any| any == 0 || self.after.is_some()) else { return false };
        let mut segments = Segments::of(path.path);
        if !match_each(after, &mut segments) {
            return false;
        }
        segments.by_ref().take(any).for_each(drop);
        match_each(&self.before, &mut segments)
    }
}

fn match_each(globs: &[Glob], segments: &mut Segments<'_>) -> bool {
    globs.iter().all(|glob| segments.next().is_some_and(|segment| glob.matches(decoded(segment))))
}

impl FromStr for PathPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        check_length(text)?;
        let path = text.strip_prefix('/').ok_or_else(|| PatternError::PathStart(text.to_owned()))?;
        if path.bytes().any(|byte| byte <= b' ' || matches!(byte, b'?' | b'#' | 0x7f)) {
            return Err(PatternError::PathByte(text.to_owned()));
        }
        if path.split('/').any(|segment| is_dots(segment) != Dots::None) {
            return Err(PatternError::PathDots(text.to_owned()));
        }
        let mut halves = vec![Vec::new()];
        for segment in path.rsplit('/') {
            if segment == "**" {
                halves.push(Vec::new());
            } else if segment.contains("**") {
                return Err(PatternError::PathStars(text.to_owned()));
            } else if let Some(half) = halves.last_mut() {
                half.push(Glob::new(segment, decoded));
            }
        }
        let before = halves.pop().unwrap_or_default();
        let after = halves.pop();
        if halves.is_empty() {
            Ok(Self { text: text.to_owned(), before, after })
        } else {
            Err(PatternError::PathStars(text.to_owned()))
        }
    }
}

/// The segments of a path from its end, with `.` and `..` resolved (RFC 3986, 5.2.4): from this side a `..` is known
/// before the segment that it takes away.
#[derive(Clone, Debug)]
struct Segments<'a> {
    rest: std::str::RSplit<'a, char>,
    /// Segments that a `..` takes away.
    skip: usize,
    is_last: bool,
}

impl<'a> Segments<'a> {
    fn of(path: &'a str) -> Self {
        Self { rest: path.rsplit('/'), skip: 0, is_last: true }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            let segment = self.rest.next()?;
            let is_last = std::mem::replace(&mut self.is_last, false);
            match is_dots(segment) {
                Dots::None if self.skip == 0 => return Some(segment),
                Dots::None => self.skip -= 1,
                Dots::Same => {}
                Dots::Up => self.skip += 1,
            }
            // `/a/.` is `/a/`, and `/a/b/..` too: an empty segment is left at the end.
            if is_last {
                return Some("");
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dots {
    None,
    Same,
    Up,
}

fn is_dots(segment: &str) -> Dots {
    let mut bytes = decoded(segment);
    match (bytes.next(), bytes.next(), bytes.next()) {
        (Some(b'.'), None, _) => Dots::Same,
        (Some(b'.'), Some(b'.'), None) => Dots::Up,
        _ => Dots::None,
    }
}

/// The bytes of a segment, with percent-encoding decoded; a `%` that encodes nothing stands for itself.
fn decoded(segment: &str) -> impl Iterator<Item = u8> + Clone + '_ {
    let mut rest = segment.as_bytes();
    std::iter::from_fn(move || {
        let hex = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        if let [b'%', high, low, after @ ..] = rest
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            rest = after;
            return Some(high << 4 | low);
        }
        let (first, after) = rest.split_first()?;
        rest = after;
        Some(*first)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        pattern.parse::<PathPattern>().unwrap().matches(RequestPath::new(path).unwrap())
    }

    #[test]
    fn stars_stand_for_parts_of_a_segment_and_for_segments() {
        for (pattern, path) in [
            ("/", "/"),
            ("/**", "/"),
            ("/**", "/a/b"),
            ("/cart", "/cart"),
            ("/cart/**", "/cart"),
            ("/cart/**", "/cart/"),
            ("/cart/**", "/cart/items/7"),
            ("/api/*/orders", "/api/v2/orders"),
            ("/api/v*", "/api/v"),
            ("/a/**/z", "/a/z"),
            ("/a/**/z", "/a/b/c/z"),
            ("/**/*.php", "/x/y/login.php"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("/", "/a"),
            ("/cart", "/cart/"),
            ("/cart", "/Cart"),
            ("/cart/**", "/carts"),
            ("/cart/**", "/x/cart/1"),
            ("/api/*/orders", "/api/v1/2/orders"),
            ("/a/**/z", "/a"),
            ("/a/**/z", "/a/z/y"),
            ("/*", "/a/b"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn a_path_written_otherwise_is_the_same_path() {
        for path in
            ["/%63art/x", "/%63%61rt", "/a/../cart/x", "/./cart/x", "/cart/x/..", "/../cart/%2e", "/a/b/%2E%2e/../cart"]
        {
            assert!(matches("/cart/**", path), "{path}");
        }
        for path in ["/cart/..", "/cart/../x", "/%2563art", "/a%2fcart", "/cart%2Fx", "/c%61rt%"] {
            assert!(!matches("/cart/**", path), "{path}");
        }
        assert!(matches("/ä/%2a", "/%C3%A4/*"));
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        let error = |text: &str| text.parse::<PathPattern>().unwrap_err();
        assert_eq!(error("cart"), PatternError::PathStart("cart".into()));
        assert_eq!(error("/a?b"), PatternError::PathByte("/a?b".into()));
        assert_eq!(error("/a b"), PatternError::PathByte("/a b".into()));
        assert_eq!(error("/a**"), PatternError::PathStars("/a**".into()));
        assert_eq!(error("/**/a/**"), PatternError::PathStars("/**/a/**".into()));
        assert_eq!(error("/a/../b"), PatternError::PathDots("/a/../b".into()));
        assert_eq!(error(""), PatternError::Length(0));
        assert_eq!(error(&format!("/{}", "a".repeat(255))), PatternError::Length(256));
        assert!(RequestPath::new("*").is_none());
    }

    /// RFC 3986, 5.2.4, for a path whose escapes are none, on a stack of segments.
    fn resolved(path: &str) -> Vec<String> {
        let mut stack: Vec<String> = Vec::new();
        let segments: Vec<&str> = path[1..].split('/').collect();
        for (index, segment) in segments.iter().enumerate() {
            match *segment {
                "." => {}
                ".." => {
                    stack.pop();
                }
                other => stack.push(other.to_owned()),
            }
            if index + 1 == segments.len() && matches!(*segment, "." | "..") {
                stack.push(String::new());
            }
        }
        stack
    }

    /// What the definition of `*` and `**` says, word by word.
    fn defined(pattern: &[&str], path: &[String]) -> bool {
        match pattern.split_first() {
            None => path.is_empty(),
            Some((&"**", rest)) => (0..=path.len()).any(|taken| defined(rest, &path[taken..])),
            Some((glob, rest)) => path.split_first().is_some_and(|(segment, others)| {
                Glob::new(glob, |part| part.as_bytes().to_vec().into_iter()).matches(segment.bytes())
                    && defined(rest, others)
            }),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn it_matches_what_the_definition_matches(
            pattern in "(/([ab]|a\\*|\\*)?){0,3}(/\\*\\*)?(/([ab]|\\*b)?){0,2}",
            path in "(/(a|b|ab|\\.|\\.\\.)?){1,6}",
        ) {
            prop_assume!(!pattern.is_empty());
            let segments: Vec<&str> = pattern[1..].split('/').collect();
            prop_assert_eq!(matches(&pattern, &path), defined(&segments, &resolved(&path)), "{} {}", pattern, path);
        }

        #[test]
        fn encoding_changes_nothing(path in "(/[a-c.]{0,3}){1,4}", mask in any::<u32>()) {
            let mut written = String::new();
            for (index, byte) in path.bytes().enumerate() {
                if byte != b'/' && mask >> (index % 32) & 1 == 1 {
                    written.push_str(&format!("%{byte:02x}"));
                } else {
                    written.push(char::from(byte));
                }
            }
            for pattern in ["/a/**", "/*", "/**/b", "/a*/b"] {
                prop_assert_eq!(matches(pattern, &path), matches(pattern, &written), "{} {}", pattern, &written);
            }
        }

        #[test]
        fn no_text_makes_it_panic(pattern in "\\PC{0,20}", path in "/\\PC{0,20}") {
            if let Ok(pattern) = pattern.parse::<PathPattern>() {
                std::hint::black_box(pattern.matches(RequestPath::new(&path).unwrap()));
            }
        }
    }
}
