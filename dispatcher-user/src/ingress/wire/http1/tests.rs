//! What passes and what does not, however the network cuts it.

use proptest::prelude::*;

use super::*;

/// Follows `wire` in reads of `size` bytes; returns what was passed on, the fault, and whether a body was broken.
fn follow(wire: &[u8], size: usize) -> (Vec<u8>, Option<Fault>, bool) {
    let mut framing = Framing::default();
    let mut passed = Vec::new();
    let mut is_broken = false;
    for read in wire.chunks(size) {
        let seen = framing.see(read);
        passed.extend(&read[..seen.pass]);
        is_broken |= seen.is_broken;
    }
    (passed, framing.fault(), is_broken)
}

/// The same for every way to cut it; they must agree.
fn fault_of(wire: &str) -> (usize, Option<Fault>, bool) {
    let whole = follow(wire.as_bytes(), wire.len());
    for size in 1..wire.len() {
        assert_eq!(follow(wire.as_bytes(), size), whole, "in reads of {size}: {wire:?}");
    }
    (whole.0.len(), whole.1, whole.2)
}

const GET: &str = "GET /cart HTTP/1.1\r\nhost: shop\r\n\r\n";

#[test]
fn well_formed_requests_pass_one_after_the_other() {
    let requests = [
        GET,
        "\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: shop\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nhost: shop\r\nCONTENT-LENGTH:0\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n5\r\nhello\r\nA;name=\"v\"\r\n0123456789\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-sum: 1\r\nx-more: 2\r\n\r\n",
        // What looks like a head or a fault is a body's content.
        "POST / HTTP/1.1\r\ncontent-length: 29\r\n\r\nContent-Length: 1\n folded\n\r\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n4\r\n\n\n\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nx-content-length: 7\r\ncontent-length-x: 8\r\n\r\n",
    ];
    let wire = requests.concat();
    assert_eq!(fault_of(&wire), (wire.len(), None, false));
    let mut framing = Framing::default();
    for request in requests {
        assert!(framing.is_between(), "before {request:?}");
        framing.see(request.as_bytes());
    }
    assert!(framing.is_between(), "the last one has ended too");
}

/// A head with these lines after the request line, and another request behind it.
fn smuggled(lines: &str) -> Option<Fault> {
    let head = format!("POST / HTTP/1.1\r\nhost: shop\r\n{lines}\r\n\r\n");
    let (passed, fault, _) = fault_of(&format!("{head}{GET}"));
    if fault.is_some() {
        assert_eq!(passed, head.len(), "the head is seen whole, and nothing behind it: {lines:?}");
    }
    fault
}

#[test]
fn a_head_of_two_meanings_is_refused() {
    for (lines, wanted) in [
        ("content-length: 5\r\ntransfer-encoding: chunked", Fault::LengthAndCoding),
        ("transfer-encoding: chunked\r\ncontent-length: 5", Fault::LengthAndCoding),
        ("content-length: 5\r\ncontent-length: 6", Fault::Lengths),
        ("content-length: 5\r\ncontent-length: 5", Fault::Lengths),
        ("content-length: 5, 5", Fault::Length),
        ("content-length: +5", Fault::Length),
        ("content-length: -5", Fault::Length),
        ("content-length: 0x5", Fault::Length),
        ("content-length:", Fault::Length),
        ("content-length: 5 5", Fault::Length),
        ("content-length: 99999999999999999999", Fault::Length),
        ("transfer-encoding: xchunked", Fault::Coding),
        ("transfer-encoding: gzip, chunked", Fault::Coding),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", Fault::Coding),
        ("transfer-encoding: chunked\r\ntransfer-encoding: identity", Fault::Coding),
        ("transfer-encoding:\tidentity", Fault::Coding),
        ("x-a: b\ncontent-length: 5", Fault::BareLineFeed),
        ("x-a: b\nx-c: d", Fault::BareLineFeed),
        ("x-a: b\r\n c", Fault::Folded),
        ("content-length: 5\r\n\t6", Fault::Folded),
    ] {
        assert_eq!(smuggled(lines), Some(wanted), "{lines:?}");
    }
    assert_eq!(smuggled("content-length: 0"), None);
}

#[test]
fn bare_line_feeds_are_refused_at_every_place() {
    for head in ["GET / HTTP/1.1\nhost: shop\r\n\r\n", "GET / HTTP/1.1\r\nhost: shop\r\n\n", "\nGET / HTTP/1.1\r\n\r\n"]
    {
        let (passed, fault, _) = fault_of(&format!("{head}{GET}"));
        assert_eq!((passed, fault), (head.len(), Some(Fault::BareLineFeed)), "{head:?}");
    }
}

#[test]
fn a_long_line_is_read_by_its_front_and_its_end() {
    let long = "x".repeat(2 * KEPT);
    assert_eq!(smuggled(&format!("x-long: {long}\r\ncontent-length: 0")), None);
    assert_eq!(smuggled(&format!("x-long: {long}\ncontent-length: 0")), Some(Fault::BareLineFeed));
    assert_eq!(smuggled(&format!("x-long: {long}\rx\ncontent-length: 0")), Some(Fault::BareLineFeed));
    // A value that would be cut is never taken for a shorter one.
    let padding = " ".repeat(KEPT);
    assert_eq!(smuggled(&format!("content-length: {padding}7")), Some(Fault::Length));
    assert_eq!(smuggled(&format!("content-length: 7{padding}7")), Some(Fault::Length));
    assert_eq!(smuggled(&format!("transfer-encoding: chunked{padding}, identity")), Some(Fault::Coding));
}

#[test]
fn a_malformed_chunk_breaks_the_body_at_once() {
    let head = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    for (body, good) in [
        ("\r\n", 0),
        ("x\r\n", 0),
        (" 5\r\nhello", 0),
        ("0x5\r\nhello", 1),
        ("5 \r\nhello", 1),
        ("5\nhello", 1),
        ("-5\r\nhello", 0),
        ("5\r\rhello", 2),
        ("00000000000000005\r\nhello", 16),
        ("5;a\nb\r\nhello", 3),
        ("5\r\nhelloX\r\n", 8),
        ("5\r\nhello\n", 8),
        ("5\r\nhello\r\r", 9),
        ("0\r\nx: 1\n\r\n", 7),
        ("0\r\n x: 1\r\n\r\n", 3),
        ("0\r\nx: 1\rX\r\n\r\n", 8),
        ("0\r\n\n", 3),
    ] {
        let (passed, fault, is_broken) = fault_of(&format!("{head}{body}"));
        assert_eq!((fault, is_broken), (Some(Fault::Chunk), true), "{body:?}");
        assert_eq!(passed, head.len() + good, "{body:?}");
    }
    let extension = format!("5;{}\r\nhello\r\n", "x".repeat(usize::from(MAX_EXTENSION) + 1));
    assert_eq!(fault_of(&format!("{head}{extension}")).1, Some(Fault::Chunk));
}

#[test]
fn nothing_passes_after_a_fault() {
    let mut framing = Framing::default();
    framing.see(b"GET / HTTP/1.1\n\r\n");
    assert_eq!(framing.fault(), Some(Fault::BareLineFeed));
    assert_eq!(framing.see(GET.as_bytes()), Seen { pass: 0, is_broken: false });
    let mut framing = Framing::default();
    framing.see(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nx");
    assert_eq!(framing.see(GET.as_bytes()), Seen { pass: 0, is_broken: true });
}

#[test]
fn the_state_tells_whether_a_head_is_awaited() {
    let mut framing = Framing::default();
    assert!(framing.is_between() && !framing.is_in_head());
    framing.see(b"G");
    assert!(!framing.is_between() && framing.is_in_head());
    framing.see(b"ET / HTTP/1.1\r\ncontent-length: 1\r\n\r\n");
    assert!(!framing.is_between() && !framing.is_in_head());
    framing.see(b"x");
    assert!(framing.is_between() && !framing.is_in_head());
}

proptest! {
    /// However the network cuts the bytes, and whatever they are, the outcome is the same.
    #[test]
    fn cuts_do_not_matter(
        parts in prop::collection::vec(prop_oneof![
            Just("GET / HTTP/1.1\r\n".to_owned()),
            Just("content-length: 3\r\n".to_owned()),
            Just("transfer-encoding: chunked\r\n".to_owned()),
            Just("\r\n".to_owned()),
            Just("3\r\nabc\r\n".to_owned()),
            Just("0\r\n\r\n".to_owned()),
            Just("x".repeat(KEPT - 1)),
            "[ -~\r\n]{0,12}",
        ], 0..12),
        cuts in prop::collection::vec(1_usize..20, 1..40),
    ) {
        let wire = parts.concat().into_bytes();
        let whole = follow(&wire, wire.len().max(1));
        let mut framing = Framing::default();
        let mut passed = Vec::<u8>::new();
        let mut rest = &wire[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (read, left) = rest.split_at((*cut).min(rest.len()));
            passed.extend(&read[..framing.see(read).pass]);
            rest = left;
        }
        prop_assert_eq!(passed, whole.0);
        prop_assert_eq!(framing.fault(), whole.1);
    }
}
