//! Loads the embedded eBPF object over the pinned tables, or makes the tables anew.

use std::os::fd::{AsRawFd, RawFd};

use aya::{
    Ebpf, EbpfError, EbpfLoader, include_bytes_aligned,
    maps::{Array, MapData, MapError, ProgramArray},
    programs::{ProgramError, Xdp},
};
use aya_log::EbpfLogger;
use dispatcher_common::{config, config::Config, table};
use tokio::io::{Interest, unix::AsyncFd};

use super::pin::PinDirectory;

/// A loaded eBPF object: its programs and tables.
pub use aya::Ebpf as Object;

/// The eBPF object, built together with this binary.
static OBJECT: &[u8] = include_bytes_aligned!(env!("DISPATCHER_OBJECT"));

/// Name of the program that is attached.
pub const ATTACHED: &str = "dispatcher";

/// Why the programs could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The pinned tables were written by a version with other tables.
    #[error(
        "the pinned tables in {path} have layout {found}, this version needs {}; \
         run `dispatcher detach --all` and start again",
        config::LAYOUT_VERSION
    )]
    Layout {
        /// The directory.
        path: String,
        /// The version that was found.
        found: String,
    },
    /// The kernel refused the object.
    #[error("the kernel refuses the eBPF object: {0:#}")]
    Object(#[from] EbpfError),
    /// The kernel refused a program.
    #[error("the kernel refuses a program: {0:#}")]
    Program(#[from] ProgramError),
    /// A table cannot be used.
    #[error("a table cannot be used: {0:#}")]
    Table(#[from] MapError),
    /// The ring buffer cannot be polled.
    #[error("the ring buffer cannot be polled: {0}")]
    Poll(std::io::Error),
    /// The object lacks something that it must have.
    #[error("the eBPF object has no `{0}`")]
    Incomplete(&'static str),
}

/// Loads the programs; the tables are those pinned in `pins`, or new ones that are pinned there.
///
/// `flows` is the capacity of each flow table, if it is made anew.
///
/// # Errors
/// If pinned tables are of another layout, or the kernel refuses something.
pub fn load(pins: &PinDirectory, flows: u32) -> Result<Ebpf, LoadError> {
    check_layout(pins)?;
    let mut loader = EbpfLoader::new();
    loader.map_max_entries(table::FLOWS4, flows).map_max_entries(table::FLOWS6, flows);
    for name in table::PINNED {
        loader.map_pin_path(name, pins.table(name));
    }
    let mut ebpf = loader.load(OBJECT)?;
    program(&mut ebpf, ATTACHED)?.load()?;
    for (place, name) in (0..).zip(table::program::NAMES) {
        let program = program(&mut ebpf, name)?;
        program.load()?;
        let program = program.fd()?.try_clone().map_err(|source| LoadError::Program(ProgramError::IOError(source)))?;
        let programs = ebpf.map_mut(table::PROGRAMS).ok_or(LoadError::Incomplete(table::PROGRAMS))?;
        ProgramArray::try_from(programs)?.set(place, &program, 0)?;
    }
    Ok(ebpf)
}

/// The program `name` of a loaded object.
///
/// # Errors
/// If the object has no XDP program of that name.
pub fn program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Xdp, LoadError> {
    Ok(ebpf.program_mut(name).ok_or(LoadError::Incomplete(name))?.try_into()?)
}

/// The ring buffer in which the programs log their rare events.
pub struct Log {
    ring: AsyncFd<Records>,
}

/// [`EbpfLogger`] with the trait that [`AsyncFd`] wants.
struct Records(EbpfLogger<&'static dyn log::Log>);

impl AsRawFd for Records {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Log {
    /// Takes the log out of a loaded object; nothing, with a warning, where it cannot be read.
    #[must_use]
    pub fn take(ebpf: &mut Ebpf) -> Option<Self> {
        let records = EbpfLogger::init(ebpf).map_err(std::io::Error::other).and_then(|logger| {
            #[expect(
                deprecated,
                reason = "its successor is unsafe; the logger owns its descriptor and never changes it"
            )]
            AsyncFd::with_interest(Records(logger), Interest::READABLE)
        });
        records
            .inspect_err(|error| tracing::warn!("the XDP programs' log cannot be read: {error:#}"))
            .ok()
            .map(|ring| Self { ring })
    }

    /// Hands records to the daemon's log for as long as it is polled.
    pub async fn forward(mut self) {
        while let Ok(mut ready) = self.ring.readable_mut().await {
            ready.get_inner_mut().0.flush();
            ready.clear_ready();
        }
    }
}

/// Refuses tables that another version has left behind.
fn check_layout(pins: &PinDirectory) -> Result<(), LoadError> {
    let path = pins.table(table::CONFIG);
    if !path.exists() {
        return Ok(());
    }
    let refuse = |found: String| LoadError::Layout { path: pins.path().display().to_string(), found };
    let row = MapData::from_pin(&path)
        .and_then(|map| Array::<_, Config>::try_from(aya::maps::Map::Array(map)))
        .and_then(|map| map.get(&0, 0))
        .map_err(|error| refuse(format!("unknown ({error:#})")))?;
    if row.layout_version != 0 && row.layout_version != config::LAYOUT_VERSION {
        return Err(refuse(row.layout_version.to_string()));
    }
    Ok(())
}
