//! Finds our cookie among a request's, takes it out before a backend sees it, and gives it to a client.

use http::{HeaderMap, HeaderValue, header::COOKIE};

use super::{KeyError, Value};

/// Cookies of our name that are looked at in one request. A browser sends one; somebody who controls a neighbouring host
/// may have planted others beside it (RFC 6265, 8.6), and ours need not be the first.
const MAX_VALUES: usize = 4;

/// The values of the cookies `name` in a request, in their order, `MAX_VALUES` at most.
pub fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(COOKIE).into_iter().map(HeaderValue::as_bytes);
    lines.flat_map(pairs).filter_map(|pair| value_of(pair, name)).take(MAX_VALUES)
}

/// Takes the cookies `name` out of a request, whatever their values are; the others stay as they are.
pub fn strip(headers: &mut HeaderMap, name: &str) {
    let is_ours = |pair: &[u8]| value_of(pair, name).is_some();
    if !headers.get_all(COOKIE).into_iter().any(|line| pairs(line.as_bytes()).any(is_ours)) {
        return;
    }
    let lines: Vec<HeaderValue> = headers.get_all(COOKIE).into_iter().cloned().collect();
    headers.remove(COOKIE);
    for line in lines {
        let kept: Vec<&[u8]> = pairs(line.as_bytes()).filter(|pair| !is_ours(pair)).collect();
        if kept.is_empty() {
            continue;
        }
        // It is made of parts of a value, and semicolons.
        if let Ok(line) = HeaderValue::from_bytes(&kept.join(b"; ".as_slice())) {
            headers.append(COOKIE, line);
        }
    }
}

/// The `Set-Cookie` field that gives a client the cookie `name`: for this host alone, over TLS alone, out of the reach of
/// scripts, and not with requests that other sites make, but for a link that is followed.
///
/// # Errors
/// `name` is no token.
pub fn set_cookie(name: &str, value: &Value) -> Result<HeaderValue, KeyError> {
    let line = format!("{name}={}; Path=/; Secure; HttpOnly; SameSite=Lax", value.as_str());
    let mut line = HeaderValue::try_from(line).or(Err(KeyError))?;
    // Kept out of HTTP/2's table of fields (RFC 7541, 7.1.3), and out of logs.
    line.set_sensitive(true);
    Ok(line)
}

/// The pairs of a `Cookie` field (RFC 6265, 4.2), without spaces around them; empty ones are left out.
fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b';').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty())
}

/// The value of a pair if it is of the cookie `name`, without the quotes that it may stand in. Names differ in upper and
/// lower case.
fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let value = pair.strip_prefix(name.as_bytes())?.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (COOKIE, HeaderValue::from_str(line).unwrap())).collect()
    }

    fn found(lines: &[&str]) -> Vec<String> {
        let headers = headers(lines);
        values(&headers, "sid").map(|value| String::from_utf8(value.to_vec()).unwrap()).collect()
    }

    fn stripped(lines: &[&str]) -> Vec<String> {
        let mut headers = headers(lines);
        headers.append("x-other", HeaderValue::from_static("sid=1"));
        strip(&mut headers, "sid");
        assert_eq!(headers["x-other"], "sid=1");
        headers.get_all(COOKIE).iter().map(|line| line.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn our_cookie_is_found_wherever_it_stands() {
        for line in ["sid=a", "x=1; sid=a", "sid=a; x=1", "x=1;sid=a;y=2", " sid = a ", "sid=\"a\"", ";;sid=a;"] {
            assert_eq!(found(&[line]), ["a"], "{line}");
        }
        // HTTP/2 may send one field for each (RFC 9113, 8.2.3).
        assert_eq!(found(&["x=1", "sid=a", "sid=b; sid=c"]), ["a", "b", "c"]);
        for line in ["SID=a", "xsid=a", "sidx=a", "sid", "x=sid=a", "\"sid=a\"", ""] {
            assert_eq!(found(&[line]), [""; 0], "{line}");
        }
        assert_eq!(found(&["sid=1; sid=2; sid=3; sid=4; sid=5"]).len(), MAX_VALUES);
    }

    #[test]
    fn our_cookie_alone_is_taken_out() {
        assert_eq!(stripped(&["sid=a"]), [""; 0]);
        assert_eq!(stripped(&["x=1; sid=a; y=2"]), ["x=1; y=2"]);
        assert_eq!(stripped(&["sid=a; sid=b;sid=c", "z=3"]), ["z=3"]);
        // A request without it is not touched, however it is written.
        assert_eq!(stripped(&["x=1;y=2 ;; sidx=3"]), ["x=1;y=2 ;; sidx=3"]);
    }

    proptest! {
        #[test]
        fn what_is_stripped_is_found_no_more(lines in vec("[sid=;\" x]{0,24}", 0..4)) {
            let mut headers: HeaderMap =
                lines.iter().map(|line| (COOKIE, HeaderValue::from_str(line).unwrap())).collect();
            let others = |headers: &HeaderMap| -> Vec<Vec<u8>> {
                let lines = headers.get_all(COOKIE).into_iter();
                let all = lines.flat_map(|line| pairs(line.as_bytes()).map(<[u8]>::to_vec).collect::<Vec<_>>());
                all.filter(|pair| value_of(pair, "sid").is_none()).collect()
            };
            let before = others(&headers);
            strip(&mut headers, "sid");
            prop_assert_eq!(values(&headers, "sid").count(), 0);
            prop_assert_eq!(others(&headers), before);
        }
    }
}
