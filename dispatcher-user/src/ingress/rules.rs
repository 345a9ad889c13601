//! Judges a request: whether it is a secure transaction, and why (S2); and which QoS class it is of.
//!
//! Rules are compiled when they are configured. Judging goes through them one by one and allocates nothing.

mod facts;
mod priority;

use std::fmt;

use http::HeaderName;

pub use self::{
    facts::Facts,
    priority::{Priority, priority},
};
use crate::core::model::{ClassMatch, HeaderPattern, HostPattern, Net, PathPattern, QosClassSpec, SecureRule};

/// Why a request is a secure transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It came by TLS, and the service has no rules that ask for more.
    Tls,
    /// The service's rule of this number, counted from 0, says so.
    Rule(usize),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls => f.write_str("tls"),
            Self::Rule(number) => write!(f, "rule {number}"),
        }
    }
}

/// What a service's requests are judged by.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Which are secure transactions.
    pub secure: SecureRules,
    /// Of which class they are.
    pub classes: ClassRules,
}

/// A service's rules for secure transactions.
#[derive(Clone, Debug)]
pub struct SecureRules(Box<[Conditions]>);

/// The QoS classes' rules, each with the number of the class that it leads to.
#[derive(Clone, Debug)]
pub struct ClassRules(Box<[(usize, Conditions)]>);

/// What a request is held against: all that is there must match.
#[derive(Clone, Debug, Default)]
struct Conditions {
    method: Option<http::Method>,
    source: Option<Net>,
    host: Option<HostPattern>,
    server_name: Option<HostPattern>,
    path: Option<PathPattern>,
    header: Option<(HeaderName, HeaderPattern)>,
}

/// A rule that no request can be held against, although the configuration took it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no method or header field of HTTP")]
pub struct NotHttp(String);

impl SecureRules {
    /// Compiles a service's rules.
    ///
    /// # Errors
    /// A rule that no request can be held against.
    pub fn compile(rules: &[SecureRule]) -> Result<Self, NotHttp> {
        let conditions = |rule: &SecureRule| {
            let SecureRule { host, path, method, header } = rule.clone();
            let method = method.map(|method| {
                http::Method::from_bytes(method.as_str().as_bytes()).or(Err(NotHttp(method.to_string())))
            });
            let (method, header) = (method.transpose()?, header.map(field).transpose()?);
            Ok(Conditions { host, path, method, header, ..Conditions::default() })
        };
        rules.iter().map(conditions).collect::<Result<_, _>>().map(Self)
    }

    /// Why a request that came by TLS is a secure transaction; nothing if it is none.
    #[must_use]
    pub fn judge(&self, facts: &Facts<'_>) -> Option<Why> {
        if self.0.is_empty() {
            return Some(Why::Tls);
        }
        self.0.iter().position(|conditions| conditions.hold(facts)).map(Why::Rule)
    }
}

impl ClassRules {
    /// Compiles the rules of all classes; a class's number is its place among `classes`.
    ///
    /// # Errors
    /// A rule that no request can be held against.
    pub fn compile(classes: &[QosClassSpec]) -> Result<Self, NotHttp> {
        let mut matches = Vec::new();
        for (number, class) in classes.iter().enumerate() {
            for ClassMatch { header, source, path, sni } in class.matches.clone() {
                let header = header.map(field).transpose()?;
                let conditions = Conditions { header, source, path, server_name: sni, ..Conditions::default() };
                matches.push((number, conditions));
            }
        }
        Ok(Self(matches.into()))
    }

    /// The class of a request, if a rule says it: the first one that matches. Otherwise it is that of its session, or the
    /// default one, which is number 0.
    #[must_use]
    pub fn judge(&self, facts: &Facts<'_>) -> Option<usize> {
        self.0.iter().find(|(_, conditions)| conditions.hold(facts)).map(|(number, _)| *number)
    }
}

impl Conditions {
    /// The cheap ones come first.
    fn hold(&self, facts: &Facts<'_>) -> bool {
        let is_named = |pattern: &HostPattern, name: Option<&str>| name.is_some_and(|name| pattern.matches(name));
        self.method.as_ref().is_none_or(|method| method == facts.method)
            && self.source.is_none_or(|source| source.contains(facts.source))
            && self.server_name.as_ref().is_none_or(|pattern| is_named(pattern, facts.server_name))
            && self.host.as_ref().is_none_or(|pattern| is_named(pattern, facts.host))
            && self.path.as_ref().is_none_or(|pattern| facts.path.is_some_and(|path| pattern.matches(path)))
            && self.header.as_ref().is_none_or(|(name, pattern)| {
                facts.headers.get_all(name).into_iter().any(|value| pattern.matches(value.as_bytes()))
            })
    }
}

fn field(header: HeaderPattern) -> Result<(HeaderName, HeaderPattern), NotHttp> {
    let name = HeaderName::from_bytes(header.name().as_bytes()).or(Err(NotHttp(header.name().to_owned())))?;
    Ok((name, header))
}

#[cfg(test)]
mod tests;
