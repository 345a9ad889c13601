//! Runs the daemon: wires the edges to the core. Nothing else spawns tasks.
//!
//! One task owns the core and everything it acts on, so that a flow's packets stay in order without a lock.

mod answer;
mod flows;
mod kernel;
mod logging;
mod request_path;

use std::{sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval},
};

use self::{
    kernel::Kernel,
    logging::Logging,
    request_path::{RequestPath, Start},
};
use crate::{
    clock,
    config::{Config, OnExit, RunOptions},
    control::server::{Call, Server},
    core::{
        dispatcher::{Dispatcher, Settings},
        event::{Command, Event},
        model::ServiceSpec,
    },
    datapath::{
        events::Events,
        pin::PinDirectory,
        sweep::{Entries, Sweeper},
    },
    failure::{Code, Failure},
    neighbours,
    state::State,
};

/// How often the programs hear from the daemon.
const HEARTBEAT: Duration = Duration::from_millis(50);
/// How long they believe it to be alive after that: longer than a busy host keeps it from running.
const ALIVE: Duration = Duration::from_millis(300);
/// How often the core is told the time and the counters.
const TICK: Duration = Duration::from_millis(100);
/// First packets handled before the daemon looks at anything else.
const BATCH: usize = 64;
/// Events and control requests that may wait for the daemon.
const QUEUE: usize = 1024;
/// Requests to the follower that may wait: each backend's address can be asked for at once.
const FOLLOW_QUEUE: usize = 2 * dispatcher_common::table::MAX_BACKENDS;

/// How long requests under way may take to end when the daemon is asked to end.
const TERMINATE_GRACE: Duration = Duration::from_secs(10);
/// The same when somebody waits at the keyboard.
const INTERRUPT_GRACE: Duration = Duration::from_secs(1);

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// If the daemon cannot start; what it had set up is undone then.
pub async fn run(options: RunOptions) -> Result<(), Failure> {
    let logging = Logging::start(options.config.daemon.log);
    let pins = PinDirectory::open(&options.config.daemon.pins).map_err(kernel::pin_failure)?;
    let server = Server::bind(&options.config.daemon.socket).map_err(Failure::from)?;
    let (daemon, channels, events) = Daemon::set_up(options, pins, logging).await?;
    daemon.serve(server, channels, events).await
}

/// The daemon's state: the core, and what its commands act on.
struct Daemon {
    config: Config,
    logging: Logging,
    state: State,
    core: Dispatcher,
    kernel: Kernel,
    commands: Vec<Command>,
    follower: mpsc::Sender<neighbours::Request>,
    entries: Arc<Entries>,
    /// `None` where no service is of mode `secure`.
    request_path: Option<RequestPath>,
    started_ns: u64,
}

/// The far ends of the daemon's channels.
struct Channels {
    events: mpsc::Receiver<Event>,
    tasks: JoinSet<()>,
    _sweeper: Sweeper,
}

/// Why the daemon ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// SIGINT: somebody is at the keyboard and wants it gone.
    Interrupt,
    /// SIGTERM: a supervisor ends it, and may start it again.
    Terminate,
}

impl Daemon {
    async fn set_up(
        options: RunOptions,
        pins: PinDirectory,
        logging: Logging,
    ) -> Result<(Self, Channels, Events), Failure> {
        let mut config = options.config;
        let (state, services) = load_state(&mut config)?;
        let (mut kernel, events) = Kernel::load(pins, config.daemon.flows, logging.level())?;
        let now_ns = clock::monotonic_ns();
        let mut commands = Vec::new();
        let adopted = kernel.adopted()?;
        let core = Dispatcher::adopt(Settings::new(seed()), now_ns, adopted, services, &mut commands)
            .map_err(|refusal| Failure::new(Code::REFUSED, refusal.to_string()))?;
        let (follower, requests) = mpsc::channel(FOLLOW_QUEUE);
        let (sender, receiver) = mpsc::channel(QUEUE);
        let sweeper = Sweeper::start(kernel.pins(), sender.clone()).map_err(kernel::load_failure)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            if let Err(error) = neighbours::follow(requests, sender).await {
                tracing::error!("neighbours cannot be followed: {error}");
            }
        });
        if let Some(task) = kernel.log_task() {
            tasks.spawn(task);
        }
        let mut daemon = Self {
            config,
            logging,
            state,
            core,
            kernel,
            commands,
            follower,
            entries: sweeper.entries(),
            request_path: None,
            started_ns: now_ns,
        };
        daemon.carry_out();
        daemon.follow_services().await?;
        daemon.beat();
        if let Err(failure) = daemon.attach_all().await {
            if let Some(path) = daemon.request_path.take() {
                path.end(Duration::ZERO).await;
            }
            return Err(failure);
        }
        Ok((daemon, Channels { events: receiver, tasks, _sweeper: sweeper }, events))
    }

    /// Tells the request path of the services as they are now; starts it with the first one of mode `secure`.
    async fn follow_services(&mut self) -> Result<(), Failure> {
        let (snapshot, specs) = (self.core.snapshot(clock::monotonic_ns()), self.core.services());
        match &mut self.request_path {
            Some(path) => path.follow(&snapshot, &specs).await,
            None => {
                let (pins, keys, classes) = (self.kernel.pins(), &self.config.daemon.keys, &self.config.qos);
                let start = Start { pins, seed: seed(), keys, classes };
                self.request_path = RequestPath::start(start, &snapshot, &specs).await?;
                Ok(())
            }
        }
    }

    /// Attaches to every configured interface, or to none; takes over what an earlier daemon had attached to besides.
    async fn attach_all(&mut self) -> Result<(), Failure> {
        for interface in self.config.interfaces.clone() {
            if let Err(failure) = self.kernel.attach(&interface.name, interface.mode).await {
                self.kernel.undo_attachments();
                return Err(failure);
            }
        }
        self.kernel.take_over_others().await;
        if self.kernel.attachments.iter().next().is_none() {
            tracing::warn!("attached to no interface; `dispatcher attach IF` does it");
        }
        Ok(())
    }

    async fn serve(mut self, server: Server, channels: Channels, mut upcalls: Events) -> Result<(), Failure> {
        let Channels { mut events, mut tasks, _sweeper: sweeper } = channels;
        let (calls_in, mut calls) = mpsc::channel::<Call>(QUEUE);
        tasks.spawn(server.serve(calls_in));
        let (mut interrupt, mut terminate) = (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
        let (mut heartbeat, mut tick) = (every(HEARTBEAT), every(TICK));
        // Records may be left from before the daemon started.
        let mut backlog = true;
        tracing::info!("ready");
        let exit = loop {
            tokio::select! {
                biased;
                _ = interrupt.recv() => break Exit::Interrupt,
                _ = terminate.recv() => break Exit::Terminate,
                _ = heartbeat.tick() => self.beat(),
                _ = tick.tick() => self.tick(),
                Some((request, answer)) = calls.recv() => {
                    // Whoever asked may have gone meanwhile.
                    answer.send(self.answer(request).await).ok();
                }
                Some(event) = events.recv() => self.handle(event),
                () = std::future::ready(()), if backlog => {
                    backlog = upcalls.drain(BATCH, |upcall| self.handle(Event::Packet(upcall)));
                    tokio::task::yield_now().await;
                }
                ready = upcalls.ready() => {
                    ready.map_err(|error| Failure::new(Code::INTERNAL, "the ring buffer failed").cause(error))?;
                    backlog = true;
                }
            }
        };
        drop(sweeper);
        tasks.shutdown().await;
        self.end(exit).await
    }

    fn handle(&mut self, event: Event) {
        self.core.handle(clock::monotonic_ns(), event, &self.kernel.tables, &mut self.commands);
        self.carry_out();
    }

    /// Tells the core the time, and what XDP has counted.
    fn tick(&mut self) {
        for id in self.core.backend_ids() {
            match self.kernel.tables.backend_stats(id) {
                Ok(stats) => self.handle(Event::Stats { backend: id, stats }),
                Err(error) => self.kernel.table_failed(&error),
            }
        }
        self.handle(Event::Tick);
    }

    /// Carries out what the core asks for, in order.
    fn carry_out(&mut self) {
        for command in self.commands.drain(..) {
            let request = if let Command::Follow(address) = command {
                neighbours::Request::Follow(address)
            } else if let Command::Unfollow(address) = command {
                neighbours::Request::Unfollow(address)
            } else {
                self.kernel.carry_out(&command);
                continue;
            };
            if self.follower.try_send(request).is_err() {
                tracing::error!(?request, "the follower of neighbours takes no requests");
            }
        }
    }

    /// Renews the heartbeat and the lease.
    fn beat(&mut self) {
        let now_ns = clock::monotonic_ns();
        let lease = self.config.interfaces.iter().filter_map(|interface| interface.lease).min();
        self.kernel
            .write_config(now_ns.saturating_add(nanoseconds(ALIVE)), lease.map(|lease| now_ns + nanoseconds(lease)));
    }

    async fn end(mut self, exit: Exit) -> Result<(), Failure> {
        // From here on XDP picks by itself.
        self.core.settle(clock::monotonic_ns(), &mut self.commands);
        self.carry_out();
        self.kernel.write_config(0, None);
        if let Some(path) = self.request_path.take() {
            path.end(if exit == Exit::Interrupt { INTERRUPT_GRACE } else { TERMINATE_GRACE }).await;
        }
        let keep = |name: &str| {
            exit == Exit::Terminate
                && self.config.interfaces.iter().any(|known| known.name == name && known.on_exit == OnExit::Keep)
        };
        let kept = self.kernel.leave(keep)?;
        if kept.is_empty() {
            tracing::info!("ended; detached from every interface");
        } else {
            tracing::info!(interfaces = kept.join(" "), "ended; mapped flows are still forwarded");
        }
        Ok(())
    }
}

/// Reads the state file, and applies what the CLI changed to the configured services and QoS classes.
fn load_state(config: &mut Config) -> Result<(State, Vec<ServiceSpec>), Failure> {
    let mut state = State::load(&config.daemon.state)?;
    let (services, warnings) = state.apply(config.services.clone());
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    for warning in state.apply_classes(&mut config.qos) {
        tracing::warn!("{warning}");
    }
    Ok((state, services))
}

fn on(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::new(Code::HOST_UNFIT, "signals cannot be received").cause(error))
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A seed that no client can guess: the standard library's own for its hash maps.
fn seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}
