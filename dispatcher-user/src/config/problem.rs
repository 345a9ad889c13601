//! What can be wrong with a configuration, and how it is told: with its place in the file and a mend.

use std::ops::Range;

use super::{files::FileProblem, quantity::QuantityError, rules::RuleError, words::WordError};
use crate::{
    core::model::{ClassError, NetError, PatternError, Refusal},
    failure::{Code, Failure},
};

/// Something wrong, and the bytes of the file that are.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) problem: Problem,
    pub(super) span: Range<usize>,
}

/// Something wrong.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("{0}")]
    Syntax(String),
    #[error("unknown key `{key}`{}", meant.map(|meant| format!(", did you mean `{meant}`?")).unwrap_or_default())]
    UnknownKey { key: String, meant: Option<&'static str>, section: &'static str, keys: &'static [&'static str] },
    #[error("`{key}` is {found}, expected {expected}")]
    WrongType { key: String, found: &'static str, expected: &'static str },
    #[error("{section} lacks `{key}`")]
    MissingKey { section: &'static str, key: &'static str, example: &'static str },
    #[error("mode secure lacks {section}")]
    MissingSection { section: &'static str, key: &'static str, example: &'static str },
    #[error("`{0}` is not built in this version")]
    NotBuilt(String),
    #[error("`{key}` belongs to mode {}", if *is_secure { "secure" } else { "packet" })]
    OtherMode { key: &'static str, is_secure: bool },
    #[error("{section} says nothing")]
    EmptyRule { section: &'static str, keys: &'static [&'static str] },
    #[error(transparent)]
    Word(#[from] WordError),
    #[error(transparent)]
    Rule(#[from] RuleError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Pattern(#[from] PatternError),
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Quantity(#[from] QuantityError),
    #[error(transparent)]
    Class(#[from] ClassError),
    #[error(transparent)]
    File(#[from] FileProblem),
    #[error("`{key}` is there without `{certificate}`")]
    KeyAlone { key: &'static str, certificate: &'static str },
    #[error("`{key}` names no file")]
    NoFile { key: &'static str },
    #[error("QoS class `{0}` is named twice")]
    ClassTwice(String),
    #[error("class `default` takes the requests that no other class does, and so has no `match`")]
    DefaultMatch,
    #[error("interface `{0}` is named twice")]
    InterfaceTwice(String),
    #[error("{key} {number} is out of range, expected {least} to {most}")]
    Range { key: &'static str, number: i64, least: i64, most: i64 },
    #[error("`{key}` is no absolute path")]
    Path { key: &'static str },
    #[error("the path of a socket has at most {most} bytes, this one has {length}")]
    SocketPath { length: usize, most: usize },
}

impl Problem {
    fn code(&self) -> Code {
        match self {
            Self::Syntax(_) => Code::SYNTAX,
            Self::UnknownKey { .. } => Code::UNKNOWN_KEY,
            Self::WrongType { .. } => Code::WRONG_TYPE,
            Self::MissingKey { .. } => Code::MISSING_KEY,
            Self::NotBuilt(_) | Self::Word(WordError::NotBuilt { .. }) => Code::NOT_BUILT,
            Self::Word(WordError::Unknown { .. }) => Code::UNKNOWN_WORD,
            Self::Rule(error) => code_of_rule(error),
            Self::Refused(refusal) => code_of_refusal(refusal),
            Self::MissingSection { .. } => Code::MISSING_KEY,
            Self::OtherMode { .. } => Code::OTHER_MODE,
            Self::EmptyRule { .. } | Self::DefaultMatch => Code::CONTRADICTION,
            Self::KeyAlone { .. } => Code::MISSING_KEY,
            Self::Pattern(_) | Self::Net(_) => Code::BAD_PATTERN,
            Self::Quantity(_) => Code::BAD_QUANTITY,
            Self::Class(_) => Code::CONTRADICTION,
            Self::File(_) => Code::BAD_FILE,
            Self::InterfaceTwice(_) | Self::ClassTwice(_) => Code::DUPLICATE_NAME,
            Self::Range { .. } => Code::OUT_OF_RANGE,
            Self::Path { .. } | Self::SocketPath { .. } | Self::NoFile { .. } => Code::BAD_PATH,
        }
    }

    fn fix(&self) -> Option<String> {
        match self {
            Self::UnknownKey { meant: None, section, keys, .. } => Some(format!("{section} takes {}", keys.join(", "))),
            Self::MissingKey { key, example, .. } => Some(format!("add {key} = {example}")),
            Self::MissingSection { section, key, example } => Some(format!("add {section} with {key} = {example}")),
            Self::OtherMode { is_secure: true, .. } => Some("set mode = \"secure\", or remove it".to_owned()),
            Self::OtherMode { is_secure: false, .. } => Some("remove it".to_owned()),
            Self::EmptyRule { keys, .. } => Some(format!("name one of {} at least, or remove it", keys.join(", "))),
            Self::KeyAlone { key, certificate } => {
                Some(format!("add {certificate}, the certificate of this {key}, or remove it"))
            }
            Self::Rule(RuleError::NoClientCa) => Some("add client_ca = \"clients-ca.pem\"".to_owned()),
            Self::Rule(RuleError::NoBackendCa) => {
                Some("add ca = \"farm-ca.pem\"; with verify = false anybody could be the backend".to_owned())
            }
            Self::File(problem) => problem.fix().map(str::to_owned),
            Self::WrongType { key, expected: SECTIONS, .. } => Some(format!("write [[{key}]], once for each")),
            Self::NotBuilt(_) | Self::Word(WordError::NotBuilt { .. }) => Some("remove it".to_owned()),
            Self::Refused(Refusal::PortMismatch { vip, .. }) => {
                Some(format!("let the backend serve on port {vip}, or set forward = \"nat\""))
            }
            Self::Refused(Refusal::FamilyMismatch { .. }) => {
                Some("make a service for each address family, with backends of that family".to_owned())
            }
            Self::Syntax(_)
            | Self::UnknownKey { .. }
            | Self::WrongType { .. }
            | Self::Word(_)
            | Self::Rule(_)
            | Self::Refused(_)
            | Self::Pattern(_)
            | Self::Net(_)
            | Self::Quantity(_)
            | Self::Class(_)
            | Self::NoFile { .. }
            | Self::ClassTwice(_)
            | Self::DefaultMatch
            | Self::InterfaceTwice(_)
            | Self::Range { .. }
            | Self::Path { .. }
            | Self::SocketPath { .. } => None,
        }
    }
}

/// What a key takes whose sections come more than once.
pub(super) const SECTIONS: &str = "an array of sections";

fn code_of_rule(error: &RuleError) -> Code {
    match error {
        RuleError::Name(_) | RuleError::InterfaceName(_) => Code::BAD_NAME,
        RuleError::Address(_) | RuleError::UnusableAddress { .. } | RuleError::Port => Code::BAD_ADDRESS,
        RuleError::Weight(_)
        | RuleError::Limit(_)
        | RuleError::Number { .. }
        | RuleError::BytesRange { .. }
        | RuleError::Empty(_) => Code::OUT_OF_RANGE,
        RuleError::BitRate => Code::NOT_BUILT,
        RuleError::List { .. } => Code::TOO_MANY,
        RuleError::Pattern(_) => Code::BAD_PATTERN,
        RuleError::IdleBeyondLifetime { .. } => Code::CONTRADICTION,
        RuleError::NoClientCa | RuleError::NoBackendCa => Code::MISSING_KEY,
        RuleError::Duration(_) | RuleError::DurationRange { .. } => Code::BAD_DURATION,
    }
}

fn code_of_refusal(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::ServiceExists(_) | Refusal::BackendExists { .. } => Code::DUPLICATE_NAME,
        Refusal::VipTaken { .. } => Code::VIP_TAKEN,
        Refusal::AddressTaken { .. } => Code::ADDRESS_TAKEN,
        Refusal::FamilyMismatch { .. } => Code::FAMILY_MISMATCH,
        Refusal::PortMismatch { .. } => Code::PORT_MISMATCH,
        Refusal::Full { .. } => Code::TOO_MANY,
        Refusal::SecureUdp | Refusal::SecureForward | Refusal::AffinityOfOtherMode { .. } | Refusal::SecureTimeout => {
            Code::OTHER_MODE
        }
        Refusal::RedirectAddress { .. } => Code::CONTRADICTION,
        // A file adds; it neither names what is not there nor removes what has flows.
        Refusal::NoSuchService(_) | Refusal::NoSuchBackend { .. } | Refusal::Busy { .. } => Code::REFUSED,
    }
}

impl Fault {
    /// Tells it, for the file `name` with the contents `text`.
    pub(super) fn told(&self, name: &str, text: &str) -> Failure {
        let (line, column) = position(text, self.span.start);
        let failure =
            Failure::new(self.problem.code(), self.problem.to_string()).at(format_args!("{name}:{line}:{column}"));
        let cause = if let Problem::File(problem) = &self.problem { problem.cause() } else { None };
        let failure = cause.into_iter().fold(failure, Failure::cause);
        match self.problem.fix() {
            Some(fix) => failure.fix(fix),
            None => failure,
        }
    }
}

/// Line and column of a byte, counted from 1; columns are characters.
pub(super) fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..text.floor_char_boundary(byte)).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let last_line = before.rsplit('\n').next().unwrap_or(before);
    (line, last_line.chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_columns_are_characters() {
        let text = "ab\näöx\n";
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, 2), (1, 3));
        assert_eq!(position(text, 3), (2, 1));
        assert_eq!(position(text, 7), (2, 3));
        assert_eq!(position(text, 4), (2, 1), "within a character");
        assert_eq!(position(text, 99), (3, 1));
    }
}
