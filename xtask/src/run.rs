//! `run`: the dispatcher in the foreground, in a lab or on network interfaces, until Ctrl-C.

use crate::{build, setup};
use anyhow::{Context as _, Result, bail};
use dispatcher_lab::{Lab, LabError, LabOptions, Status, Suffix, addresses::VIP4, addresses::VIP6, remove};
use std::{
    env,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::PathBuf,
    process::{Command, ExitCode, ExitStatus},
    time::Duration,
};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
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
    if arguments.clean && remove(&arguments.suffix)? {
        println!("removed what was left of an earlier lab");
    }
    let mut lab = start(&arguments.suffix, &arguments.shape)?;
    introduce(&lab, &arguments.suffix);
    println!("Ctrl-C removes all of it.");
    let outcome = wait(&mut lab);
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

/// Builds the dispatcher and starts a lab around it; installs what that needs first.
pub(crate) fn start(suffix: &Suffix, shape: &Shape) -> Result<Lab> {
    // Said before minutes are spent on a build.
    if let Some(name) = Status::of(suffix).namespaces.into_iter().next() {
        return Err(LabError::Exists { what: format!("namespace {name}"), flag: suffix.flag() }.into());
    }
    setup::ensure(&[setup::Group::Lab])?;
    let options = LabOptions {
        suffix: suffix.clone(),
        backends: shape.backends,
        mode: shape.mode.clone(),
        dispatcher: build::release()?,
        backend_program: env::current_exe().context("the system does not say which program this is")?,
    };
    Ok(Lab::start(&options)?)
}

/// Says how to use a lab.
pub(crate) fn introduce(lab: &Lab, suffix: &Suffix) {
    let exec = format!("cargo xtask lab exec{}", suffix.flag());
    println!("The lab is up: VIP {VIP4} and {VIP6}, services web (:80), web-dsr (:81) and dns (:53/udp). Try");
    println!("  {exec} dsp-client -- curl -s http://{VIP4}/");
    println!("  {exec} dsp-client -- curl -s http://[{VIP6}]:81/");
    println!("  {exec} dsp-lb1 -- dispatcher backend list");
    println!("  bpftool map dump pinned {}/dsp_flows4", lab.directory().pins().display());
    println!("Logs are in {}.", lab.directory().path().display());
}

/// Waits for Ctrl-C, or for the end of the dispatcher, which is an error here.
fn wait(lab: &mut Lab) -> Result<()> {
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut look = time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                _ = hangup.recv() => return Ok(()),
                _ = look.tick() => {
                    if let Some(status) = lab.daemon().ended()? {
                        bail!(lab.daemon().failed(&format!("ended with {status}")));
                    }
                }
            }
        }
    })
}

/// The exit code that a shell would give a program which ended like this.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
