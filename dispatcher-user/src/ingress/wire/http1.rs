//! Follows the framing of HTTP/1.1 requests on the wire, and refuses what two readers could take for two things.
//!
//! hyper decides alike for most of it, but forgives some that a server behind or a proxy in front may read otherwise
//! (request smuggling, RFC 9112 section 11.2): it takes a bare line feed for a line's end, drops a Content-Length that
//! stands beside a Transfer-Encoding, and merges equal Content-Lengths. Once it has parsed a head, none of that can be
//! seen any more. So the bytes are followed before it gets them. Where this reader and hyper differ, this one refuses.
//!
//! ```text
//! Head ──empty line──▶ Sized ──n bytes──▶ Head
//!  │ ▲  └─no body─┘    Chunked: Size ─▶ Data ─▶ DataEnd ─▶ Size … 0 ─▶ Trailers ──empty line──▶ Head
//!  │ fault: to the end of the head, which hyper must see whole     │ fault: at once
//!  └──────────────▶ Refused ◀──────────────────────────────────────┘
//! ```

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A line that ends with a line feed alone (RFC 9112 section 2.2).
    #[error("a line of the request ends with a bare line feed")]
    BareLineFeed,
    /// A field that is continued on the next line (RFC 9112 section 5.2).
    #[error("a field is folded over several lines")]
    Folded,
    /// More than one Content-Length, even if they agree (RFC 9112 section 6.3).
    #[error("there is more than one Content-Length")]
    Lengths,
    /// A Content-Length that is no number.
    #[error("the Content-Length is not a number")]
    Length,
    /// Content-Length and Transfer-Encoding together (RFC 9112 section 6.1).
    #[error("there is a Content-Length beside a Transfer-Encoding")]
    LengthAndCoding,
    /// More than one Transfer-Encoding, or another one than `chunked`.
    #[error("the Transfer-Encoding is not chunked alone")]
    Coding,
    /// A chunk's size that is not plain hexadecimal, or a chunk that does not end where its size says.
    #[error("a chunk is malformed")]
    Chunk,
}

/// How far bytes may be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Bytes, from the front, that the HTTP library may have.
    pub pass: usize,
    /// Set when a body's framing is broken: what has been passed on is an incomplete body.
    pub is_broken: bool,
}

/// Bytes that are kept of a line that lies across reads. A field of framing that is longer is refused.
const KEPT: usize = 256;
/// Digits of a chunk's size: all that a 64 bit number can have.
const MAX_SIZE_DIGITS: u8 = 16;
/// Bytes of a chunk's extension.
const MAX_EXTENSION: u16 = 1024;

/// The state of one connection's requests.
#[derive(Debug, Default)]
pub struct Framing {
    state: State,
    cut: Cut,
    head: Head,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    Sized(u64),
    Chunk(Chunk),
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    Size { digits: u8, size: u64 },
    Extension { size: u64, length: u16 },
    SizeEnd { size: u64 },
    Data { left: u64 },
    DataEnd,
    DataEndLf,
    Trailer { is_empty: bool, ends: bool },
}

/// A line that an earlier read ended in.
#[derive(Debug, Default)]
struct Cut {
    /// As much of it as is kept, its end included.
    front: Vec<u8>,
    last_two: [u8; 2],
    length: usize,
}

/// What a head has said of its body so far.
#[derive(Debug, Default)]
struct Head {
    has_begun: bool,
    has_length: bool,
    length: u64,
    is_chunked: bool,
}

impl Framing {
    /// Follows the bytes that the client sent next.
    pub fn see(&mut self, bytes: &[u8]) -> Seen {
        let mut rest = bytes;
        while !rest.is_empty() && self.state != State::Refused {
            rest = match self.state {
                State::Head => self.see_head(rest),
                State::Sized(left) => {
                    let (left, rest) = skip(left, rest);
                    self.state = if left == 0 { State::Head } else { State::Sized(left) };
                    rest
                }
                State::Chunk(Chunk::Data { left }) => {
                    let (left, rest) = skip(left, rest);
                    self.state = State::Chunk(if left == 0 { Chunk::DataEnd } else { Chunk::Data { left } });
                    rest
                }
                State::Chunk(chunk) => self.see_chunk(chunk, rest),
                State::Refused => rest,
            };
        }
        let is_broken = self.state == State::Refused && !self.head.has_begun;
        Seen { pass: bytes.len() - rest.len(), is_broken }
    }

    /// What was wrong, from then on.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// True if nothing passes any more.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.state == State::Refused
    }

    /// True while a head has begun and not ended.
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        self.state == State::Head && (self.head.has_begun || !self.cut.is_empty())
    }

    /// True if nothing of a request has been seen since the last one ended.
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.state == State::Head && !self.is_in_head()
    }

    /// Takes one line off the front of `bytes`; returns what follows it.
    fn see_head<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            self.cut.keep(bytes);
            return &[];
        };
        let (line, rest) = bytes.split_at(end + 1);
        if self.cut.is_empty() {
            self.see_line(line.strip_suffix(b"\r\n").ok_or(line), line.len() > KEPT);
        } else {
            self.cut.keep(line);
            let cut = std::mem::take(&mut self.cut);
            let is_ended = cut.last_two == *b"\r\n";
            self.see_line(if is_ended { Ok(cut.front()) } else { Err(cut.front()) }, cut.length > KEPT);
            self.cut = Cut { front: cut.front, ..Cut::default() };
        }
        rest
    }

    /// Takes a line without its end, or with it if that is not as it should be; of a long one perhaps only the front.
    fn see_line(&mut self, line: Result<&[u8], &[u8]>, is_long: bool) {
        let line = line.unwrap_or_else(|line| {
            self.refuse(Fault::BareLineFeed);
            line.strip_suffix(b"\n").unwrap_or(line)
        });
        match (self.head.has_begun, line.first()) {
            // Empty lines before a request are to be skipped (RFC 9112 section 2.2).
            (false, None) => {}
            (false, Some(_)) => self.head.has_begun = true,
            (true, None) => self.end_head(),
            (true, Some(b' ' | b'\t')) => self.refuse(Fault::Folded),
            (true, Some(_)) => self.see_field(line, is_long),
        }
    }

    fn see_field(&mut self, line: &[u8], is_long: bool) {
        if let Some(value) = value_of(line, b"content-length") {
            match number(value).filter(|_| !is_long) {
                None => self.refuse(Fault::Length),
                Some(_) if self.head.has_length => self.refuse(Fault::Lengths),
                Some(length) => self.head.length = length,
            }
            self.head.has_length = true;
        } else if let Some(value) = value_of(line, b"transfer-encoding") {
            if self.head.is_chunked || is_long || !value.eq_ignore_ascii_case(b"chunked") {
                self.refuse(Fault::Coding);
            }
            self.head.is_chunked = true;
        }
    }

    fn end_head(&mut self) {
        if self.head.has_length && self.head.is_chunked {
            self.refuse(Fault::LengthAndCoding);
        }
        if self.fault.is_some() {
            self.state = State::Refused;
            return;
        }
        let head = std::mem::take(&mut self.head);
        self.state = match head {
            Head { is_chunked: true, .. } => State::Chunk(Chunk::Size { digits: 0, size: 0 }),
            Head { length: 0, .. } => State::Head,
            Head { length, .. } => State::Sized(length),
        };
    }

    /// Takes one byte of what frames chunks.
    fn see_chunk<'a>(&mut self, chunk: Chunk, bytes: &'a [u8]) -> &'a [u8] {
        let Some((byte, rest)) = bytes.split_first() else { return bytes };
        match chunk.next(*byte) {
            Some(next) => self.state = next,
            None => {
                self.refuse(Fault::Chunk);
                self.state = State::Refused;
                return bytes;
            }
        }
        rest
    }

    /// Notes the first thing that is wrong.
    fn refuse(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }
}

impl Cut {
    fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn keep(&mut self, part: &[u8]) {
        if self.length == 0 {
            self.front.clear();
        }
        let room = KEPT.saturating_sub(self.front.len());
        self.front.extend_from_slice(part.get(..room).unwrap_or(part));
        self.length += part.len();
        self.last_two = match part {
            [] => self.last_two,
            [only] => [self.last_two[1], *only],
            [.., before, last] => [*before, *last],
        };
    }

    /// The line without its end; of a long one the front.
    fn front(&self) -> &[u8] {
        let line = self.front.strip_suffix(b"\n").unwrap_or(&self.front);
        if self.last_two == *b"\r\n" { line.strip_suffix(b"\r").unwrap_or(line) } else { line }
    }
}

impl Chunk {
    /// What follows on `byte`; nothing if it must not be there.
    fn next(self, byte: u8) -> Option<State> {
        let chunk = match (self, byte) {
            (Self::Size { digits, size }, _) if byte.is_ascii_hexdigit() => {
                let digit = u64::from(char::from(byte).to_digit(16)?);
                let digits = digits + 1;
                (digits <= MAX_SIZE_DIGITS).then_some(Self::Size { digits, size: size << 4 | digit })?
            }
            (Self::Size { digits: 0, .. }, _) => return None,
            (Self::Size { size, .. }, b'\r') => Self::SizeEnd { size },
            (Self::Size { size, .. }, b';') => Self::Extension { size, length: 0 },
            (Self::Extension { size, .. }, b'\r') => Self::SizeEnd { size },
            (Self::Extension { size, length }, byte) if byte != b'\n' && length < MAX_EXTENSION => {
                Self::Extension { size, length: length + 1 }
            }
            (Self::SizeEnd { size: 0 }, b'\n') => Self::Trailer { is_empty: true, ends: false },
            (Self::SizeEnd { size }, b'\n') => Self::Data { left: size },
            (Self::DataEnd, b'\r') => Self::DataEndLf,
            (Self::DataEndLf, b'\n') => Self::Size { digits: 0, size: 0 },
            (Self::Trailer { is_empty: true, ends: true }, b'\n') => return Some(State::Head),
            (Self::Trailer { is_empty: false, ends: true }, b'\n') => Self::Trailer { is_empty: true, ends: false },
            (Self::Trailer { ends: true, .. }, _) | (Self::Trailer { .. }, b'\n') => return None,
            (Self::Trailer { is_empty, .. }, b'\r') => Self::Trailer { is_empty, ends: true },
            (Self::Trailer { is_empty: true, .. }, b' ' | b'\t') => return None,
            (Self::Trailer { .. }, _) => Self::Trailer { is_empty: false, ends: false },
            _ => return None,
        };
        Some(State::Chunk(chunk))
    }
}

/// Skips up to `left` bytes; returns how many are left to skip, and what follows.
fn skip(left: u64, bytes: &[u8]) -> (u64, &[u8]) {
    let now = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    (left - now as u64, bytes.get(now..).unwrap_or_default())
}

/// The value of a field without the space around it, if it is called `name` (in lower case).
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (front, rest) = line.split_at_checked(name.len())?;
    // The colon is looked at first: it tells most fields apart by one comparison.
    let value = rest.strip_prefix(b":")?;
    front.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

/// A number of decimal digits only; no sign, no list.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
