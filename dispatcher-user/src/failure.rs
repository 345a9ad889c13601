//! What a user is told when something fails: what happened, where, and the mend.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A failure as the CLI prints it and the control socket carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Names the kind of failure for good.
    pub code: Code,
    /// What happened, in a sentence without a full stop.
    pub message: String,
    /// Where: `file:line:column`, if it is about a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What the system said, with who said it in front: `kernel: Permission denied`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Failure {
    /// A failure that is told by its message alone.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), at: None, cause: None, fix: None }
    }

    /// Says where it happened.
    #[must_use]
    pub fn at(self, place: impl fmt::Display) -> Self {
        Self { at: Some(place.to_string()), ..self }
    }

    /// Adds what the system said.
    #[must_use]
    pub fn cause(self, cause: impl fmt::Display) -> Self {
        Self { cause: Some(cause.to_string()), ..self }
    }

    /// Adds what mends it.
    #[must_use]
    pub fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code, self.message)?;
        if let Some(at) = &self.at {
            write!(f, "  {at}")?;
        }
        if let Some(cause) = &self.cause {
            write!(f, "\n  {cause}")?;
        }
        if let Some(fix) = &self.fix {
            write!(f, "\n  fix: {fix}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// The number of a kind of failure, shown as `E201`. Its hundred says who is at fault, and gives the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Code(u16);

impl Code {
    /// The program cannot be attached to an interface.
    pub const CANNOT_ATTACH: Self = Self(101);
    /// Another XDP program holds the interface.
    pub const INTERFACE_HELD: Self = Self(102);
    /// No interface has that name.
    pub const NO_SUCH_INTERFACE: Self = Self(103);
    /// The kernel refuses the program or a table.
    pub const CANNOT_LOAD: Self = Self(104);
    /// A capability or permission is missing.
    pub const NOT_PERMITTED: Self = Self(105);
    /// The BPF file system is missing, or pins in it cannot be used.
    pub const PINS_UNUSABLE: Self = Self(106);
    /// The program cannot be detached.
    pub const CANNOT_DETACH: Self = Self(107);
    /// The host lacks something else that the dispatcher needs.
    pub const HOST_UNFIT: Self = Self(108);

    /// A key that the configuration does not have.
    pub const UNKNOWN_KEY: Self = Self(201);
    /// The file is not TOML.
    pub const SYNTAX: Self = Self(202);
    /// A value of another type than the key takes.
    pub const WRONG_TYPE: Self = Self(203);
    /// A key that must be there is not.
    pub const MISSING_KEY: Self = Self(204);
    /// A word that is none of those that the key takes.
    pub const UNKNOWN_WORD: Self = Self(205);
    /// A section or value that this version does not build.
    pub const NOT_BUILT: Self = Self(206);
    /// A name with characters that names do not have.
    pub const BAD_NAME: Self = Self(207);
    /// A name that is taken.
    pub const DUPLICATE_NAME: Self = Self(208);
    /// A VIP that another service has.
    pub const VIP_TAKEN: Self = Self(209);
    /// No usable address and port.
    pub const BAD_ADDRESS: Self = Self(210);
    /// VIP and backend of different address families.
    pub const FAMILY_MISMATCH: Self = Self(211);
    /// A `dsr` backend on another port than the VIP.
    pub const PORT_MISMATCH: Self = Self(212);
    /// No usable duration.
    pub const BAD_DURATION: Self = Self(213);
    /// A number outside its range.
    pub const OUT_OF_RANGE: Self = Self(214);
    /// No interface to attach to.
    pub const NO_INTERFACE: Self = Self(215);
    /// An address and port that another backend of the service has.
    pub const ADDRESS_TAKEN: Self = Self(216);
    /// The file cannot be read.
    pub const UNREADABLE: Self = Self(217);
    /// More services or backends than the tables hold.
    pub const TOO_MANY: Self = Self(218);
    /// A path that cannot be used.
    pub const BAD_PATH: Self = Self(219);
    /// A key or value that the service's mode does not have.
    pub const OTHER_MODE: Self = Self(220);
    /// No usable pattern or network.
    pub const BAD_PATTERN: Self = Self(221);
    /// No usable number of bytes or rate.
    pub const BAD_QUANTITY: Self = Self(222);
    /// A certificate, key or authority file that cannot be used.
    pub const BAD_FILE: Self = Self(223);
    /// Keys that cannot stand together as they are.
    pub const CONTRADICTION: Self = Self(224);

    /// No daemon answers.
    pub const NO_DAEMON: Self = Self(301);
    /// The socket is there, but this user may not use it.
    pub const SOCKET_FORBIDDEN: Self = Self(302);
    /// The daemon did not answer in time.
    pub const DAEMON_SILENT: Self = Self(303);
    /// The daemon and the command line do not understand each other.
    pub const PROTOCOL: Self = Self(304);

    /// A change was refused; nothing has changed.
    pub const REFUSED: Self = Self(401);
    /// No service, backend, flow or lock answers to what was named.
    pub const NOT_FOUND: Self = Self(402);
    /// Another dispatcher answers on the socket, or holds the pins.
    pub const ALREADY_RUNNING: Self = Self(403);
    /// The control socket cannot be made.
    pub const SOCKET_UNUSABLE: Self = Self(404);
    /// The state file cannot be read or written.
    pub const STATE_UNUSABLE: Self = Self(405);
    /// The daemon has too much to do.
    pub const BUSY: Self = Self(406);
    /// Something inside the daemon failed.
    pub const INTERNAL: Self = Self(407);
    /// The key file cannot be read or written.
    pub const KEYS_UNUSABLE: Self = Self(408);

    /// The exit code of a command that ends in this failure.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self.0 {
            100..=199 => exit::HOST_UNFIT,
            200..=299 => exit::CONFIGURATION,
            300..=399 => exit::UNREACHABLE,
            _ => exit::FAILED,
        }
    }
}

/// Exit codes of the command line. 2 is a mistake in the command itself, which clap reports.
pub mod exit {
    /// It was done.
    pub const OK: u8 = 0;
    /// It was not done.
    pub const FAILED: u8 = 1;
    /// The daemon is unreachable.
    pub const UNREACHABLE: u8 = 3;
    /// The configuration is invalid.
    pub const CONFIGURATION: u8 = 4;
    /// The host or the interface is unfit.
    pub const HOST_UNFIT: u8 = 5;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "E{}", self.0)
    }
}

impl From<Code> for String {
    fn from(code: Code) -> Self {
        code.to_string()
    }
}

impl TryFrom<String> for Code {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = text.strip_prefix('E').and_then(|digits| digits.parse().ok());
        number.map(Self).ok_or_else(|| format!("`{text}` is no failure code"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_where_and_the_mend() {
        let failure = Failure::new(Code::CANNOT_ATTACH, "cannot attach to eth0 in native mode")
            .cause("kernel: veth: Peer MTU is too large to set XDP.")
            .fix("lower the peer's MTU, or run with --mode generic (slower)");
        assert_eq!(
            failure.to_string(),
            "error[E101]: cannot attach to eth0 in native mode\n  \
             kernel: veth: Peer MTU is too large to set XDP.\n  \
             fix: lower the peer's MTU, or run with --mode generic (slower)"
        );
        let failure = Failure::new(Code::UNKNOWN_KEY, "unknown key `weigth`").at("dispatcher.toml:14:3");
        assert_eq!(failure.to_string(), "error[E201]: unknown key `weigth`  dispatcher.toml:14:3");
    }

    #[test]
    fn the_hundred_of_a_code_gives_the_exit_code() {
        assert_eq!(Code::CANNOT_ATTACH.exit_code(), 5);
        assert_eq!(Code::UNKNOWN_KEY.exit_code(), 4);
        assert_eq!(Code::NO_DAEMON.exit_code(), 3);
        assert_eq!(Code::REFUSED.exit_code(), 1);
    }

    #[test]
    fn a_code_travels_as_it_is_shown() {
        let json = serde_json::to_string(&Code::REFUSED).unwrap();
        assert_eq!(json, "\"E401\"");
        assert_eq!(serde_json::from_str::<Code>(&json).unwrap(), Code::REFUSED);
        assert!(serde_json::from_str::<Code>("\"401\"").is_err());
    }
}
