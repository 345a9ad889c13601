//! The words by which files, command lines and tables name a choice: `least-load`, `dsr`, `drain`.

use super::{AttachMode, LogLevel, OnExit};
use crate::core::model::{
    AdminState, Affinity, Alpn, ClientAuth, Forward, LostBackend, Protocol, Scheduler, TunnelProtocol,
};

/// A choice that has words.
pub trait Word: Copy + Eq + Send + Sync + 'static {
    /// What is chosen.
    const KIND: &'static str;
    /// Every choice and its word.
    const WORDS: &'static [(&'static str, Self)];
    /// Words of choices that this version does not build.
    const NOT_BUILT: &'static [&'static str] = &[];

    /// The word of a choice.
    #[must_use]
    fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, choice)| *choice == self);
        // A test goes through all choices.
        found.map_or("", |(word, _)| word)
    }

    /// The choice that a word names.
    ///
    /// # Errors
    /// It names none, or one that is not built.
    fn named(word: &str) -> Result<Self, WordError> {
        if let Some((_, choice)) = Self::WORDS.iter().find(|(known, _)| *known == word) {
            return Ok(*choice);
        }
        if Self::NOT_BUILT.contains(&word) {
            return Err(WordError::NotBuilt { kind: Self::KIND, word: word.to_owned() });
        }
        let known: Vec<&str> = Self::WORDS.iter().map(|(known, _)| *known).collect();
        Err(WordError::Unknown {
            kind: Self::KIND,
            word: word.to_owned(),
            meant: nearest(word, &known),
            known: known.join(", "),
        })
    }
}

/// Why a word names no choice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// Nobody knows it.
    #[error("unknown {kind} `{word}`, {}", match meant {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("expected one of {known}"),
    })]
    Unknown {
        /// What is chosen.
        kind: &'static str,
        /// What was written.
        word: String,
        /// The word it is nearest to.
        meant: Option<&'static str>,
        /// All words.
        known: String,
    },
    /// A later version may.
    #[error("{kind} `{word}` is not built in this version")]
    NotBuilt {
        /// What is chosen.
        kind: &'static str,
        /// What was written.
        word: String,
    },
}

/// The candidate that was probably meant: at most a third of its letters are wrong, missing or swapped.
pub(super) fn nearest<'a>(written: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let distance = |candidate: &&'a str| strsim::damerau_levenshtein(written, candidate);
    let nearest = candidates.iter().copied().min_by_key(distance)?;
    (distance(&nearest) <= nearest.len().div_ceil(3)).then_some(nearest)
}

impl Word for Protocol {
    const KIND: &'static str = "protocol";
    const WORDS: &'static [(&'static str, Self)] = &[("tcp", Self::Tcp), ("udp", Self::Udp)];
}

impl Word for Scheduler {
    const KIND: &'static str = "scheduler";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("rr", Self::Rr),
        ("wrr", Self::Wrr),
        ("lc", Self::Lc),
        ("wlc", Self::Wlc),
        ("sh", Self::Sh),
        ("mh", Self::Mh),
        ("p2c", Self::P2c),
        ("least-load", Self::LeastLoad),
    ];
}

impl Word for Forward {
    const KIND: &'static str = "forward mode";
    const WORDS: &'static [(&'static str, Self)] = &[("nat", Self::Nat), ("dsr", Self::Dsr)];
    const NOT_BUILT: &'static [&'static str] = &["fullnat", "encap"];
}

impl Word for Affinity {
    const KIND: &'static str = "affinity";
    const WORDS: &'static [(&'static str, Self)] =
        &[("none", Self::None), ("client-ip", Self::ClientIp), ("cookie", Self::Cookie), ("session", Self::Session)];
}

impl Word for AdminState {
    const KIND: &'static str = "state";
    const WORDS: &'static [(&'static str, Self)] =
        &[("ready", Self::Ready), ("drain", Self::Drain), ("maint", Self::Maint)];
}

impl Word for AttachMode {
    const KIND: &'static str = "attach mode";
    const WORDS: &'static [(&'static str, Self)] = &[("native", Self::Native), ("generic", Self::Generic)];
}

impl Word for OnExit {
    const KIND: &'static str = "action";
    const WORDS: &'static [(&'static str, Self)] = &[("detach", Self::Detach), ("keep", Self::Keep)];
}

impl Word for LogLevel {
    const KIND: &'static str = "log level";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("off", Self::Off),
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
}

/// How a service treats what comes to its VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServiceMode {
    /// Packets are redirected.
    Packet,
    /// TLS ends here.
    Secure,
}

impl Word for ServiceMode {
    const KIND: &'static str = "service mode";
    const WORDS: &'static [(&'static str, Self)] = &[("packet", Self::Packet), ("secure", Self::Secure)];
}

impl Word for Alpn {
    const KIND: &'static str = "ALPN protocol";
    const WORDS: &'static [(&'static str, Self)] = &[("h2", Self::H2), ("http/1.1", Self::Http11)];
}

impl Word for ClientAuth {
    const KIND: &'static str = "client authentication";
    const WORDS: &'static [(&'static str, Self)] =
        &[("none", Self::None), ("optional", Self::Optional), ("required", Self::Required)];
}

impl Word for LostBackend {
    const KIND: &'static str = "action";
    const WORDS: &'static [(&'static str, Self)] = &[("redispatch", Self::Redispatch), ("strict", Self::Strict)];
}

impl Word for TunnelProtocol {
    const KIND: &'static str = "tunnel protocol";
    const WORDS: &'static [(&'static str, Self)] = &[("auto", Self::Auto), ("h2", Self::H2), ("h1", Self::H1)];
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    /// Every choice has one word, the word leads back, and JSON has the same word.
    fn words_agree<W: Word + Serialize + std::fmt::Debug>() {
        for (word, choice) in W::WORDS {
            assert_eq!(choice.word(), *word);
            assert_eq!(W::named(word), Ok(*choice));
            assert_eq!(serde_json::to_value(choice).unwrap(), *word);
        }
    }

    #[test]
    fn a_choice_has_one_word_everywhere() {
        words_agree::<Protocol>();
        words_agree::<Scheduler>();
        words_agree::<Forward>();
        words_agree::<Affinity>();
        words_agree::<AdminState>();
        words_agree::<AttachMode>();
        words_agree::<OnExit>();
        words_agree::<LogLevel>();
        words_agree::<Alpn>();
        words_agree::<ClientAuth>();
        words_agree::<LostBackend>();
        words_agree::<TunnelProtocol>();
    }

    #[test]
    fn no_choice_is_without_a_word() {
        // These matches fail to compile when a choice is added; the counts then say where its word belongs.
        assert_eq!(Scheduler::WORDS.len(), 8);
        match Scheduler::Rr {
            Scheduler::Rr | Scheduler::Wrr | Scheduler::Lc | Scheduler::Wlc => {}
            Scheduler::Sh | Scheduler::Mh | Scheduler::P2c | Scheduler::LeastLoad => {}
        }
        assert_eq!(Forward::WORDS.len(), 2);
        match Forward::Nat {
            Forward::Nat | Forward::Dsr => {}
        }
        assert_eq!(Affinity::WORDS.len(), 4);
        match Affinity::None {
            Affinity::None | Affinity::ClientIp | Affinity::Cookie | Affinity::Session => {}
        }
        assert_eq!(AdminState::WORDS.len(), 3);
        match AdminState::Ready {
            AdminState::Ready | AdminState::Drain | AdminState::Maint => {}
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_understood_and_nonsense_is_not() {
        let error = |word| Scheduler::named(word).unwrap_err().to_string();
        assert_eq!(error("least-laod"), "unknown scheduler `least-laod`, did you mean `least-load`?");
        assert_eq!(
            error("fastest"),
            "unknown scheduler `fastest`, expected one of rr, wrr, lc, wlc, sh, mh, p2c, least-load"
        );
        assert_eq!(
            Forward::named("encap").unwrap_err().to_string(),
            "forward mode `encap` is not built in this version"
        );
    }
}
