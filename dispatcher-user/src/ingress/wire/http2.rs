//! Follows HTTP/2 frames on the wire and meters those by which a client makes work and asks for nothing.
//!
//! hyper bounds what it remembers of a connection (streams, resets that wait, header blocks), not what it does for it: a
//! client may send PING or SETTINGS without end, each of which is answered (CVE-2019-9512, -9515), PRIORITY and empty
//! frames (-9513, -9518), open and reset streams (CVE-2023-44487), or give windows byte by byte (-9511). Two buckets of
//! tokens stop it:
//!
//! - *disturbing* frames (SETTINGS, RST_STREAM, PRIORITY, empty DATA) are paid by time, and a little by requests;
//! - *acknowledging* ones (PING, WINDOW_UPDATE) also by what was sent to the client: downloads call for them.

/// What a client sent too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flood {
    /// SETTINGS, RST_STREAM, PRIORITY or empty DATA frames.
    #[error("too many SETTINGS, RST_STREAM, PRIORITY or empty DATA frames")]
    Disturbing,
    /// PING or WINDOW_UPDATE frames.
    #[error("too many PING or WINDOW_UPDATE frames")]
    Acknowledging,
}

const PREFACE: u8 = 24;
const FRAME_HEADER: usize = 9;
const NS_PER_SECOND: u64 = 1_000_000_000;

// Frame types and flags, RFC 9113 section 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Tokens are counted in halves, because a request pays for half a disturbing frame.
const FRAME: u64 = 2;
const DISTURBING_BURST: u64 = 200 * FRAME;
const DISTURBING_PER_SECOND: u64 = 20 * FRAME;
const DISTURBING_PER_REQUEST: u64 = FRAME / 2;
const ACKNOWLEDGING_BURST: u64 = 1_000 * FRAME;
const ACKNOWLEDGING_PER_SECOND: u64 = 100 * FRAME;
const ACKNOWLEDGING_PER_REQUEST: u64 = 8 * FRAME;
/// For each KiB that the client gets, and for each write at least.
const ACKNOWLEDGING_PER_KIB: u64 = 4 * FRAME;

/// The frames of one connection, as far as they have come.
#[derive(Debug)]
pub struct Frames {
    /// Bytes of the preface that are still to come.
    preface: u8,
    /// The frame header that an earlier read ended in.
    header: [u8; FRAME_HEADER],
    have: usize,
    /// Bytes of the current frame's payload that are still to come.
    payload: usize,
    /// True from a HEADERS frame to the end of its block.
    is_block_open: bool,
    disturbing: Bucket,
    acknowledging: Bucket,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: u64,
    burst: u64,
    per_second: u64,
    filled_ns: u64,
}

impl Frames {
    /// A connection that begins now.
    #[must_use]
    pub fn new(now_ns: u64) -> Self {
        let bucket = |burst, per_second| Bucket { tokens: burst, burst, per_second, filled_ns: now_ns };
        Self {
            preface: PREFACE,
            header: [0; FRAME_HEADER],
            have: 0,
            payload: 0,
            is_block_open: false,
            disturbing: bucket(DISTURBING_BURST, DISTURBING_PER_SECOND),
            acknowledging: bucket(ACKNOWLEDGING_BURST, ACKNOWLEDGING_PER_SECOND),
        }
    }

    /// Follows the bytes that the client sent next.
    ///
    /// # Errors
    /// If the client has sent too much of what makes work only; the connection should end.
    pub fn see(&mut self, bytes: &[u8], now_ns: u64) -> Result<(), Flood> {
        let preface = usize::from(self.preface).min(bytes.len());
        self.preface -= u8::try_from(preface).unwrap_or(self.preface);
        let mut rest = bytes.get(preface..).unwrap_or_default();
        while !rest.is_empty() {
            if self.payload > 0 {
                let skipped = self.payload.min(rest.len());
                self.payload -= skipped;
                rest = rest.get(skipped..).unwrap_or_default();
                continue;
            }
            let missing = (FRAME_HEADER - self.have).min(rest.len());
            let (part, behind) = rest.split_at(missing);
            for (slot, byte) in self.header.iter_mut().skip(self.have).zip(part) {
                *slot = *byte;
            }
            self.have += missing;
            rest = behind;
            if self.have == FRAME_HEADER {
                self.have = 0;
                self.frame(now_ns)?;
            }
        }
        Ok(())
    }

    /// Notes that the client gets `bytes`.
    pub fn sent(&mut self, bytes: usize) {
        self.acknowledging.pay((bytes as u64 / 1024 + 1) * ACKNOWLEDGING_PER_KIB);
    }

    /// True while the preface or a header block has begun and not ended.
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        self.preface > 0 || self.is_block_open || self.have > 0
    }

    fn frame(&mut self, now_ns: u64) -> Result<(), Flood> {
        let [high, middle, low, kind, flags, ..] = self.header;
        self.payload = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        match kind {
            HEADERS | CONTINUATION => {
                self.is_block_open = flags & END_HEADERS == 0;
                if kind == HEADERS {
                    self.disturbing.pay(DISTURBING_PER_REQUEST);
                    self.acknowledging.pay(ACKNOWLEDGING_PER_REQUEST);
                }
                Ok(())
            }
            SETTINGS | PING if flags & ACK != 0 => Ok(()),
            DATA if self.payload > 0 || flags & END_STREAM != 0 => Ok(()),
            DATA | PRIORITY | RST_STREAM | SETTINGS => self.disturbing.take(now_ns).ok_or(Flood::Disturbing),
            PING | WINDOW_UPDATE => self.acknowledging.take(now_ns).ok_or(Flood::Acknowledging),
            // PUSH_PROMISE is an error that hyper finds, GOAWAY ends the connection, unknown frames must be ignored
            // (RFC 9113 section 4.1): but not without end.
            _ => self.disturbing.take(now_ns).ok_or(Flood::Disturbing),
        }
    }
}

impl Bucket {
    /// Takes the tokens of one frame; nothing if there are too few.
    fn take(&mut self, now_ns: u64) -> Option<()> {
        let earned = now_ns.saturating_sub(self.filled_ns).saturating_mul(self.per_second) / NS_PER_SECOND;
        if earned > 0 {
            self.filled_ns = now_ns;
            self.pay(earned);
        }
        self.tokens = self.tokens.checked_sub(FRAME)?;
        Some(())
    }

    fn pay(&mut self, tokens: u64) {
        self.tokens = self.tokens.saturating_add(tokens).min(self.burst);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = NS_PER_SECOND;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let length_bytes = u32::try_from(length).unwrap().to_be_bytes();
        let mut bytes = vec![length_bytes[1], length_bytes[2], length_bytes[3], kind, flags, 0, 0, 0, 1];
        bytes.extend(vec![0xff; length]);
        bytes
    }

    fn begun() -> Frames {
        let mut frames = Frames::new(0);
        frames.see(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0).unwrap();
        frames
    }

    /// How many of a frame pass at one time.
    fn burst(kind: u8, flags: u8, length: usize) -> Option<usize> {
        let mut frames = begun();
        (0..5_000).find(|_| frames.see(&frame(kind, flags, length), 0).is_err())
    }

    #[test]
    fn frames_that_only_make_work_have_an_end() {
        for (kind, length) in [(SETTINGS, 0), (SETTINGS, 6), (PRIORITY, 5), (RST_STREAM, 4), (DATA, 0), (0x77, 8)] {
            assert_eq!(burst(kind, 0, length), Some(200), "type {kind}");
        }
        for (kind, length) in [(PING, 8), (WINDOW_UPDATE, 4)] {
            assert_eq!(burst(kind, 0, length), Some(1_000), "type {kind}");
        }
    }

    #[test]
    fn frames_that_carry_something_or_answer_us_have_none() {
        for (kind, flags, length) in [
            (DATA, 0, 1),
            (DATA, END_STREAM, 0),
            (HEADERS, END_HEADERS, 20),
            (CONTINUATION, END_HEADERS, 20),
            (SETTINGS, ACK, 0),
            (PING, ACK, 8),
        ] {
            assert_eq!(burst(kind, flags, length), None, "type {kind}");
        }
    }

    #[test]
    fn a_stream_reset_for_each_that_is_opened_ends_the_connection() {
        let mut frames = begun();
        let both = [frame(HEADERS, END_HEADERS | END_STREAM, 30), frame(RST_STREAM, 0, 4)].concat();
        let end = (0..5_000).find(|_| frames.see(&both, 0).is_err()).unwrap();
        assert!((390..=410).contains(&end), "{end}");
        // One in two is what an impatient user may do all day.
        let mut frames = begun();
        let three = [frame(HEADERS, END_HEADERS | END_STREAM, 30), both].concat();
        assert!((0..5_000).all(|_| frames.see(&three, 0).is_ok()));
    }

    #[test]
    fn a_download_pays_for_its_window_updates_and_pings() {
        let mut frames = begun();
        let answer = [frame(WINDOW_UPDATE, 0, 4), frame(WINDOW_UPDATE, 0, 4), frame(PING, 0, 8)].concat();
        for _ in 0..10_000 {
            frames.sent(600);
            frames.see(&answer, 0).unwrap();
        }
    }

    #[test]
    fn time_fills_the_buckets_up_to_their_burst() {
        let mut frames = begun();
        while frames.see(&frame(SETTINGS, 0, 0), 0).is_ok() {}
        assert_eq!((0..100).filter(|_| frames.see(&frame(SETTINGS, 0, 0), SECOND).is_ok()).count(), 20);
        assert_eq!((0..500).filter(|_| frames.see(&frame(SETTINGS, 0, 0), 3600 * SECOND).is_ok()).count(), 200);
    }

    #[test]
    fn an_open_header_block_is_awaited() {
        let mut frames = Frames::new(0);
        assert!(frames.is_in_head());
        frames.see(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0).unwrap();
        assert!(!frames.is_in_head());
        frames.see(&frame(HEADERS, 0, 10), 0).unwrap();
        assert!(frames.is_in_head());
        frames.see(&frame(CONTINUATION, 0, 10), 0).unwrap();
        assert!(frames.is_in_head());
        frames.see(&frame(CONTINUATION, END_HEADERS, 10), 0).unwrap();
        assert!(!frames.is_in_head());
        frames.see(&[0, 0], 0).unwrap();
        assert!(frames.is_in_head(), "a frame that has begun");
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(
            kinds in prop::collection::vec((0_u8..10, any::<u8>(), 0_usize..40), 0..400),
            cut in 1_usize..50,
        ) {
            let mut wire = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            wire.extend(kinds.iter().flat_map(|(kind, flags, length)| frame(*kind, *flags, *length)));
            let (mut whole, mut parts) = (Frames::new(0), Frames::new(0));
            let once = whole.see(&wire, 0);
            let many = wire.chunks(cut).try_for_each(|part| parts.see(part, 0));
            prop_assert_eq!(once, many);
            if once.is_ok() {
                prop_assert_eq!(whole.is_in_head(), parts.is_in_head());
                prop_assert_eq!(whole.disturbing.tokens, parts.disturbing.tokens);
            }
        }
    }
}
