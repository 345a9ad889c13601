//! `run`: the dispatcher in the foreground, in a lab or on network interfaces, until Ctrl-C.

use crate::{build, privilege, setup};
use anyhow::{Context as _, Result, bail};
use dispatcher_lab::{
    Lab, LabError, LabOptions, Status, Suffix,
    addresses::{VIP4, VIP6},
    certificates::SHOP,
    remove,
};
use std::{
    env, io,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::PathBuf,
    process::{Command, ExitCode, ExitStatus},
    time::Duration,
};
use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    time,
};

/// How often the dispatcher is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Where to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Runs on this network interface instead of in a lab
    #[arg(long, value_name = "IF")]
    iface: Vec<String>,
    /// The dispatcher's configuration
    #[arg(long, value_name = "FILE", requires = "iface")]
    config: Option<PathBuf>,
    /// Tells this lab from others; its namespaces end in -SUFFIX
    #[arg(long, default_value = "", conflicts_with = "iface")]
    suffix: Suffix,
    /// First removes what a crashed lab of this name left behind
    #[arg(long, conflicts_with = "iface")]
    clean: bool,
    #[command(flatten)]
    shape: Shape,
}

/// What a lab is like.
#[derive(Debug, clap::Args)]
pub(crate) struct Shape {
    /// How XDP is attached
    #[arg(long, value_parser = ["native", "generic"], default_value = "native")]
    mode: String,
    /// How many backends there are
    #[arg(long, default_value_t = 3)]
    backends: u8,
}

pub(crate) fn execute(arguments: &Arguments) -> Result<ExitCode> {
    if !arguments.iface.is_empty() {
        return Err(on_interfaces(arguments));
    }
    if !arguments.clean {
        refuse_second(&arguments.suffix)?;
    }
    let binary = prepare()?;
    if arguments.clean && remove(&arguments.suffix)? {
        println!("removed what was left of an earlier lab");
    }
    // From here on Ctrl-C ends the wait below, and not this process in the middle of building the lab.
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let mut ends = runtime.block_on(async { Ends::begin() })?;
    let mut lab = start(&arguments.suffix, &arguments.shape, binary)?;
    introduce(&lab, &arguments.suffix);
    println!("Ctrl-C removes all of it.");
    let outcome = runtime.block_on(wait(&mut lab, &mut ends));
    drop(lab);
    outcome?;
    println!("the lab is gone");
    Ok(ExitCode::SUCCESS)
}

/// Becomes `dispatcher run`, so that signals and the exit code are its own; returns only why it could not.
fn on_interfaces(arguments: &Arguments) -> anyhow::Error {
    let binary = match build::release() {
        Ok(binary) => binary,
        Err(error) => return error,
    };
    if let Err(error) = privilege::become_root(Some(&binary)) {
        return error;
    }
    let mut command = Command::new(&binary);
    command.arg("run").args(["--mode", &arguments.shape.mode]);
    for interface in &arguments.iface {
        command.args(["--iface", interface]);
    }
    if let Some(config) = &arguments.config {
        command.arg("--config").arg(config);
    }
    anyhow::Error::new(command.exec()).context(format!("cannot start {}", binary.display()))
}

/// Sees to everything a lab needs: its programs, the dispatcher, and root. Returns the dispatcher.
pub(crate) fn prepare() -> Result<PathBuf> {
    setup::ensure(&[setup::Group::Lab])?;
    let binary = build::release()?;
    privilege::become_root(Some(&binary))?;
    Ok(binary)
}

/// Starts a lab around a dispatcher.
pub(crate) fn start(suffix: &Suffix, shape: &Shape, dispatcher: PathBuf) -> Result<Lab> {
    let options = LabOptions {
        suffix: suffix.clone(),
        backends: shape.backends,
        mode: shape.mode.clone(),
        on_exit: "detach".to_owned(),
        has_shop: true,
        dispatcher,
        backend_program: env::current_exe().context("the system does not say which program this is")?,
    };
    Ok(Lab::start(&options)?)
}

/// Says that a lab stands, before minutes are spent on a build.
pub(crate) fn refuse_second(suffix: &Suffix) -> Result<()> {
    match Status::of(suffix).namespaces.into_iter().next() {
        None => Ok(()),
        Some(name) => Err(LabError::Exists { what: format!("namespace {name}"), flag: suffix.flag() }.into()),
    }
}

/// Says how to use a lab.
pub(crate) fn introduce(lab: &Lab, suffix: &Suffix) {
    let exec = format!("cargo xtask lab exec{}", suffix.flag());
    println!("The lab is up: VIP {VIP4} and {VIP6}, services web (:80), web-dsr (:81), dns (:53/udp)");
    println!("and shop (:443, TLS ends at the dispatcher, a session stays on one backend). Try");
    println!("  {exec} dsp-client -- curl -s http://{VIP4}/");
    println!("  {exec} dsp-client -- curl -s http://[{VIP6}]:81/");
    let (authority, cookies) = (lab.certificates().authority(), lab.directory().path().join("cookies"));
    println!(
        "  {exec} dsp-client -- curl -s --cacert {} --resolve {SHOP}:443:{VIP4} -b {cookies} -c {cookies} \
         https://{SHOP}/cart/add/apple",
        authority.display(),
        cookies = cookies.display(),
    );
    println!("  {exec} dsp-lb1 -- dispatcher session list");
    println!("  {exec} dsp-lb1 -- dispatcher tunnel list");
    println!("  {exec} dsp-lb1 -- dispatcher backend list");
    println!("  bpftool map dump pinned {}/dsp_flows4", lab.directory().pins().display());
    println!("Logs are in {}.", lab.directory().path().display());
}

/// The signals that end a lab in the foreground.
struct Ends {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Ends {
    /// Begins to listen for them.
    fn begin() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Waits for such a signal, or for the end of the dispatcher, which is an error here.
async fn wait(lab: &mut Lab, ends: &mut Ends) -> Result<()> {
    let mut look = time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            _ = ends.interrupt.recv() => return Ok(()),
            _ = ends.terminate.recv() => return Ok(()),
            _ = ends.hangup.recv() => return Ok(()),
            _ = look.tick() => {
                if let Some(status) = lab.daemon().ended()? {
                    bail!(lab.daemon().failed(&format!("ended with {status}")));
                }
            }
        }
    }
}

/// The exit code that a shell would give a program which ended like this.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
