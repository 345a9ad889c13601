//! The shop's certificate is replaced while customers come and go.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use dispatcher_lab::{
    addresses::VIP4,
    certificates::{Authority, SHOP, Use},
    config::SHOP_PORT,
    wait_until,
};
use dispatcher_tests::{
    Stage,
    crowd::{self, Crowd},
    customer::{self, Customer, Memory, Version},
    stage::SOON,
};
use std::{fs, io::Write as _, path::Path};

const CUSTOMERS: usize = 100;

/// Puts a file where another one is, so that there is always a whole one.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn certificate_is_swapped_without_a_failed_request() {
    let Some(stage) = Stage::start_with_shop("scs") else { return };
    let certificates = stage.lab.certificates().clone();
    // The lab's authority is not there any more to issue another one, so that customers trust a second one as well.
    let authority = Authority::new("Another authority").unwrap();
    let mut trusted = fs::File::options().append(true).open(certificates.authority()).unwrap();
    trusted.write_all(authority.certificate().as_bytes()).unwrap();
    let place = customer::place(stage.client());
    let seen = |version| {
        let mut customer = Customer::new(&certificates, (VIP4, SHOP_PORT).into(), version, Memory::Cookie);
        customer.get_in(&place, "/").certificate
    };
    let old = seen(Version::Http1);
    let crowd = Crowd::enter(&stage, CUSTOMERS, Memory::Cookie);
    crowd.wait_for_answers(2);

    let issued = authority.issue(SHOP, &[SHOP.to_owned()], Use::Server).unwrap();
    let (shop, log) = (certificates.shop(), stage.lab.directory().log("dispatcher"));
    let says = |words: &str| fs::read_to_string(&log).unwrap().contains(words);
    replace(&shop.chain, &issued.chain);
    // The new certificate does not go with the old key: nothing changes, and the log says why.
    wait_until("the half of it seen", SOON, || says("changed certificates are not used")).unwrap();
    assert_eq!(seen(Version::Http2), old);
    replace(&shop.key, &issued.key);
    wait_until("the whole of it seen", SOON, || says("certificates were read anew")).unwrap();
    for version in [Version::Http1, Version::Http2] {
        assert_ne!(seen(version), old, "new connections are shown the new one");
    }
    crowd.wait_for_answers(2);
    crowd::assert_undisturbed(&crowd.leave());
}
