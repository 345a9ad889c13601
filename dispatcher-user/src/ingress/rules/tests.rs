//! What requests are judged to be, for every kind of condition and for conditions together.

use http::{Request, request::Parts};

use super::*;
use crate::core::model::DEFAULT_CLASS;

fn request(method: &str, target: &str, fields: &[(&str, &str)]) -> Parts {
    let builder = Request::builder().method(method).uri(target);
    let builder = fields.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    builder.body(()).unwrap().into_parts().0
}

fn rule(host: Option<&str>, path: Option<&str>, method: Option<&str>, header: Option<&str>) -> SecureRule {
    SecureRule {
        host: host.map(|host| host.parse().unwrap()),
        path: path.map(|path| path.parse().unwrap()),
        method: method.map(|method| method.parse().unwrap()),
        header: header.map(|header| header.parse().unwrap()),
    }
}

fn judged(rules: &[SecureRule], request: &Parts) -> Option<Why> {
    let facts = Facts::of(request, [198, 51, 100, 2].into(), None);
    SecureRules::compile(rules).unwrap().judge(&facts)
}

#[test]
fn without_rules_all_that_came_by_tls_is_secure() {
    assert_eq!(judged(&[], &request("GET", "/", &[])), Some(Why::Tls));
}

#[test]
fn the_first_rule_that_matches_is_the_reason() {
    let rules = [rule(None, Some("/cart/**"), None, None), rule(None, None, Some("POST"), None)];
    assert_eq!(judged(&rules, &request("GET", "/cart/7?x=1", &[])), Some(Why::Rule(0)));
    assert_eq!(judged(&rules, &request("POST", "/cart/7", &[])), Some(Why::Rule(0)));
    assert_eq!(judged(&rules, &request("POST", "/search", &[])), Some(Why::Rule(1)));
    assert_eq!(judged(&rules, &request("GET", "/search?next=/cart/7", &[])), None);
}

#[test]
fn all_conditions_of_a_rule_must_hold() {
    let rules = [rule(Some("*.example.org"), Some("/login"), Some("POST"), Some("x-account: *"))];
    let good = ("POST", "/login", ("host", "shop.example.org:8443"), ("x-account", "7"));
    let is_secure = |(method, target, host, account): (&str, &str, (&str, &str), (&str, &str))| {
        judged(&rules, &request(method, target, &[host, account])).is_some()
    };
    assert!(is_secure(good));
    assert!(!is_secure(("GET", good.1, good.2, good.3)));
    assert!(!is_secure((good.0, "/login/", good.2, good.3)));
    assert!(!is_secure((good.0, good.1, ("host", "example.org"), good.3)));
    assert!(!is_secure((good.0, good.1, good.2, ("x-other", "7"))));
}

#[test]
fn methods_differ_in_case_and_hosts_and_field_names_do_not() {
    let rules = [rule(Some("shop.example.org"), None, Some("POST"), Some("X-Tier: gold"))];
    let fields = |host, tier| [("HOST", host), ("x-TIER", tier)];
    assert!(judged(&rules, &request("POST", "/", &fields("SHOP.example.ORG", "gold"))).is_some());
    assert!(judged(&rules, &request("post", "/", &fields("shop.example.org", "gold"))).is_none());
    assert!(judged(&rules, &request("POST", "/", &fields("shop.example.org", "Gold"))).is_none());
    // A method of one's own making is a method.
    let own = [rule(None, None, Some("BREW"), None)];
    assert!(judged(&own, &request("BREW", "/", &[])).is_some());
}

#[test]
fn the_authority_of_the_target_goes_before_the_field() {
    let rules = [rule(Some("a.example"), None, None, None)];
    let field = [("host", "b.example")];
    assert!(judged(&rules, &request("GET", "https://a.example/", &field)).is_some());
    assert!(judged(&rules, &request("GET", "https://b.example/", &[("host", "a.example")])).is_none());
    assert!(judged(&rules, &request("GET", "https://u:p@a.example:8443/", &field)).is_some());
    assert!(judged(&rules, &request("GET", "https://a.example@b.example/", &field)).is_none());
    assert!(judged(&rules, &request("GET", "/", &[])).is_none(), "no host at all");
}

#[test]
fn targets_without_a_path_match_no_path() {
    let rules = [rule(None, Some("/**"), None, None)];
    assert!(judged(&rules, &request("OPTIONS", "*", &[])).is_none());
    assert!(judged(&rules, &request("CONNECT", "a.example:443", &[])).is_none());
    assert!(judged(&rules, &request("GET", "https://a.example", &[])).is_some());
}

#[test]
fn any_line_of_a_field_will_do() {
    let rules = [rule(None, None, None, Some("x-tier: gold"))];
    assert!(judged(&rules, &request("GET", "/", &[("x-tier", "silver"), ("x-tier", "gold")])).is_some());
    assert!(judged(&rules, &request("GET", "/", &[("x-tier", "silver"), ("x-tire", "gold")])).is_none());
}

fn class(name: &str, matches: Vec<ClassMatch>) -> QosClassSpec {
    QosClassSpec { matches, ..QosClassSpec::named(name) }
}

#[test]
fn the_first_class_that_matches_takes_a_request_and_the_default_one_the_rest() {
    let header = |text: &str| ClassMatch { header: Some(text.parse().unwrap()), ..ClassMatch::default() };
    let source = |text: &str| ClassMatch { source: Some(text.parse().unwrap()), ..ClassMatch::default() };
    let sni = |text: &str| ClassMatch { sni: Some(text.parse().unwrap()), ..ClassMatch::default() };
    let classes = [
        class(DEFAULT_CLASS, Vec::new()),
        class("gold", vec![header("x-tier: gold"), sni("gold.example")]),
        class("lab", vec![source("198.51.100.0/24"), source("2001:db8::/32")]),
    ];
    let rules = ClassRules::compile(&classes).unwrap();
    let judged = |fields: &[(&str, &str)], source: &str, sni: Option<&str>| {
        let request = request("GET", "/", fields);
        let class = rules.judge(&Facts::of(&request, source.parse().unwrap(), sni));
        class.map_or("none", |number| classes[number].name.as_str())
    };
    assert_eq!(judged(&[], "203.0.113.1", None), "none");
    assert_eq!(judged(&[("x-tier", "gold")], "198.51.100.1", None), "gold");
    assert_eq!(judged(&[], "203.0.113.1", Some("GOLD.example")), "gold");
    assert_eq!(judged(&[], "198.51.100.1", Some("other")), "lab");
    assert_eq!(judged(&[], "::ffff:198.51.100.1", None), "lab", "IPv4 on a socket for both families");
    assert_eq!(judged(&[], "2001:db8::7", None), "lab");
}

#[test]
fn all_conditions_of_a_match_must_hold() {
    let both = ClassMatch {
        header: Some("x-tier: gold".parse().unwrap()),
        path: Some("/checkout/**".parse().unwrap()),
        ..ClassMatch::default()
    };
    let rules = ClassRules::compile(&[class("gold", vec![both])]).unwrap();
    let is_gold = |target: &str, tier: &str| {
        let request = request("GET", target, &[("x-tier", tier)]);
        rules.judge(&Facts::of(&request, [198, 51, 100, 2].into(), None)).is_some()
    };
    assert!(is_gold("/checkout/pay", "gold"));
    assert!(!is_gold("/checkout/pay", "silver") && !is_gold("/search", "gold"));
}
