//! Cookies that were tampered with in every way that fits into a test: each is as good as none, and none is an error.

use proptest::prelude::*;

use super::*;
use crate::core::sessions::SessionId;

const NOW_S: i64 = 1_800_000_000;

fn claims() -> Claims {
    Claims {
        session: SessionId([7; 16]),
        backend: 3,
        generation: 9,
        mark: mark("10.77.1.11:8443".parse().unwrap()),
        expires_s: NOW_S + 60,
    }
}

fn shop() -> Binding {
    Binding::new("shop")
}

fn cookies() -> Cookies {
    Cookies::new(&Secrets::random(NOW_S).unwrap()).unwrap()
}

fn sealed(cookies: &Cookies) -> Value {
    cookies.seal(&shop(), &claims()).unwrap()
}

#[test]
fn what_is_sealed_opens_until_its_time_is_over() {
    let cookies = cookies();
    let value = sealed(&cookies);
    assert_eq!(value.as_str().len(), VALUE_LEN);
    assert!(value.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
    let opened = |now_s| cookies.open(&shop(), value.as_str().as_bytes(), now_s);
    assert_eq!(opened(NOW_S), Outcome::Valid(claims()));
    assert_eq!(opened(NOW_S + 59), Outcome::Valid(claims()));
    assert_eq!(opened(NOW_S + 60), Outcome::Expired);
    assert_eq!(opened(i64::MAX), Outcome::Expired);
}

#[test]
fn the_same_claims_are_never_sealed_alike_and_show_nothing() {
    let cookies = cookies();
    assert_ne!(sealed(&cookies), sealed(&cookies));
    let bytes = BASE64URL_NOPAD.decode(sealed(&cookies).as_str().as_bytes()).unwrap();
    assert!(!bytes.windows(4).any(|window| window == [7; 4]), "the session's ID can be read");
}

#[test]
fn a_cookie_of_another_service_says_nothing() {
    let cookies = cookies();
    let value = sealed(&cookies);
    for service in ["shop6", "sho", "", "Shop"] {
        assert_eq!(cookies.open(&Binding::new(service), value.as_str().as_bytes(), NOW_S), Outcome::Forged);
    }
}

#[test]
fn every_bit_counts() {
    let cookies = cookies();
    let bytes = BASE64URL_NOPAD.decode(sealed(&cookies).as_str().as_bytes()).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let expected = match bit / 8 {
            0 => Outcome::Malformed,
            1..5 => Outcome::UnknownKey,
            _ => Outcome::Forged,
        };
        let value = BASE64URL_NOPAD.encode(&changed);
        assert_eq!(cookies.open(&shop(), value.as_bytes(), NOW_S), expected, "bit {bit}");
    }
}

#[test]
fn every_letter_counts() {
    let cookies = cookies();
    let value = sealed(&cookies);
    for at in 0..VALUE_LEN {
        for letter in [b'A', b'B', b'-', b'+', b'/', b'=', b' ', b'"', 0, 0xff] {
            let mut changed = value.as_str().as_bytes().to_vec();
            if std::mem::replace(&mut changed[at], letter) != letter {
                let outcome = cookies.open(&shop(), &changed, NOW_S);
                assert!(!matches!(outcome, Outcome::Valid(_)), "{letter} at {at}");
            }
        }
    }
}

#[test]
fn a_cookie_that_was_cut_or_made_longer_is_none() {
    let cookies = cookies();
    let value = sealed(&cookies).as_str().to_owned();
    for length in 0..VALUE_LEN {
        assert_eq!(cookies.open(&shop(), &value.as_bytes()[..length], NOW_S), Outcome::Malformed);
        assert_eq!(cookies.open(&shop(), &value.as_bytes()[VALUE_LEN - length..], NOW_S), Outcome::Malformed);
    }
    for more in ["A", "=", "==", " ", "AAAA"] {
        assert_eq!(cookies.open(&shop(), format!("{value}{more}").as_bytes(), NOW_S), Outcome::Malformed);
        assert_eq!(cookies.open(&shop(), format!("{more}{value}").as_bytes(), NOW_S), Outcome::Malformed);
    }
}

#[test]
fn parts_of_two_good_cookies_make_none() {
    let cookies = cookies();
    let other = Claims { session: SessionId([8; 16]), ..claims() };
    let decode = |value: Value| BASE64URL_NOPAD.decode(value.as_str().as_bytes()).unwrap();
    let (one, two) = (decode(sealed(&cookies)), decode(cookies.seal(&shop(), &other).unwrap()));
    // The first five bytes are the same in both.
    for at in 6..one.len() {
        let mixed = BASE64URL_NOPAD.encode(&[&one[..at], &two[at..]].concat());
        assert_eq!(cookies.open(&shop(), mixed.as_bytes(), NOW_S), Outcome::Forged, "cut at {at}");
    }
}

#[test]
fn a_foreign_key_opens_nothing_even_under_a_name_of_ours() {
    let (ours, theirs) = (Secrets::random(NOW_S).unwrap(), Secrets::random(NOW_S).unwrap());
    let (cookies, foreign) = (Cookies::new(&ours).unwrap(), Cookies::new(&theirs).unwrap());
    let value = sealed(&foreign);
    assert_eq!(cookies.open(&shop(), value.as_str().as_bytes(), NOW_S), Outcome::UnknownKey);
    let mut bytes = BASE64URL_NOPAD.decode(value.as_str().as_bytes()).unwrap();
    bytes[1..5].copy_from_slice(&ours.iter().next().unwrap().id);
    let value = BASE64URL_NOPAD.encode(&bytes);
    assert_eq!(cookies.open(&shop(), value.as_bytes(), NOW_S), Outcome::Forged);
}

#[test]
fn former_secrets_open_and_the_newest_seals() {
    let place = tempfile::tempdir().unwrap();
    let mut file = super::super::keys::KeyFile::open(&place.path().join("keys"), NOW_S).unwrap();
    let cookies = Cookies::new(file.secrets()).unwrap();
    let old = sealed(&cookies);
    let rotate = |file: &mut super::super::keys::KeyFile, days: i64| {
        file.rotate(NOW_S + days * 86_400, std::time::Duration::from_secs(86_400), false).unwrap();
        cookies.replace(file.secrets()).unwrap();
    };
    rotate(&mut file, 1);
    let new = sealed(&cookies);
    let opened = |value: &Value| cookies.open(&shop(), value.as_str().as_bytes(), NOW_S);
    assert_eq!((opened(&old), opened(&new)), (Outcome::Valid(claims()), Outcome::Valid(claims())));
    assert_ne!(old.as_str()[..6], new.as_str()[..6], "another secret seals");
    rotate(&mut file, 2);
    assert_eq!(opened(&old), Outcome::Valid(claims()), "it may have been sealed a moment before the first rotation");
    rotate(&mut file, 3);
    assert_eq!((opened(&old), opened(&new)), (Outcome::UnknownKey, Outcome::Valid(claims())));
    // A daemon that starts with the same file opens what this one sealed.
    let again = Cookies::new(file.secrets()).unwrap();
    assert_eq!(again.open(&shop(), new.as_str().as_bytes(), NOW_S), Outcome::Valid(claims()));
}

#[test]
fn a_key_is_replaced_before_its_nonces_may_repeat() {
    let cookies = cookies();
    assert!(!cookies.is_used_up());
    cookies.seals.store(MAX_SEALS - 1, Ordering::Relaxed);
    sealed(&cookies);
    assert!(cookies.is_used_up());
    cookies.replace(&Secrets::random(NOW_S).unwrap()).unwrap();
    assert!(!cookies.is_used_up());
}

#[test]
fn every_outcome_is_counted_on_its_own() {
    let counters = Counters::default();
    for (times, outcome) in [
        (1, None),
        (2, Some(Outcome::Valid(claims()))),
        (3, Some(Outcome::Expired)),
        (4, Some(Outcome::Forged)),
        (5, Some(Outcome::UnknownKey)),
        (6, Some(Outcome::Malformed)),
    ] {
        (0..times).for_each(|_| counters.count(outcome.as_ref()));
    }
    let expected = Counts { none: 1, valid: 2, expired: 3, forged: 4, unknown_key: 5, malformed: 6 };
    assert_eq!(counters.counts(), expected);
}

#[test]
fn a_client_is_given_a_cookie_that_only_this_host_gets_back() {
    let value = sealed(&cookies());
    let line = set_cookie("__Host-sid", &value).unwrap();
    let expected = format!("__Host-sid={}; Path=/; Secure; HttpOnly; SameSite=Lax", value.as_str());
    assert_eq!((line.to_str().unwrap(), line.is_sensitive()), (expected.as_str(), true));
}

proptest! {
    #[test]
    fn any_claims_come_back(session: [u8; 16], backend: u16, generation: u16, mark: u32, expires_s in 1_i64..) {
        let claims = Claims { session: SessionId(session), backend, generation, mark, expires_s };
        let cookies = cookies();
        let value = cookies.seal(&shop(), &claims).unwrap();
        prop_assert_eq!(cookies.open(&shop(), value.as_str().as_bytes(), 0), Outcome::Valid(claims));
    }

    #[test]
    fn no_bytes_are_valid_or_make_it_panic(value in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(cookies().open(&shop(), &value, NOW_S), Outcome::Malformed);
    }

    #[test]
    fn no_text_of_the_right_shape_is_valid(value in "[A-Za-z0-9_-]{87}") {
        prop_assert!(!matches!(cookies().open(&shop(), value.as_bytes(), 0), Outcome::Valid(_) | Outcome::Expired));
    }
}
