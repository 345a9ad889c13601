//! Asks the daemon.

use std::{collections::BTreeMap, path::Path, thread, time::Duration};

use super::{Ending, args::Format, request, show};
use crate::{
    control::{
        api::{DropView, Request, Response},
        client::Client,
    },
    failure::{Code, Failure},
    output::{self, Output},
};

/// How often a watched listing is asked for.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Puts a request to the daemon and shows its answer.
pub(super) fn ask(request: Request, socket: &Path, output: &Output) -> Result<(), Ending> {
    let done = request::done(&request);
    output.detail(&format!("asking the daemon on {}", socket.display()));
    let mut client = Client::connect(socket).map_err(Failure::from)?;
    let response = client.call(request).map_err(Failure::from)?;
    show::response(&response, done.as_deref(), output)
}

/// Shows every second what the counters have gained, until the reader has seen enough or the daemon ends.
pub(super) fn watch_drops(socket: &Path, output: &Output) -> Result<(), Ending> {
    let mut client = Client::connect(socket).map_err(Failure::from)?;
    let mut before: Option<BTreeMap<String, u64>> = None;
    loop {
        let items = match client.call(Request::Drops).map_err(Failure::from)? {
            Response::Drops { items } => items,
            Response::Failed(failure) => return Err(failure.into()),
            _ => return Err(unexpected().into()),
        };
        let counts = items.iter().map(|row| (row.reason.clone(), row.packets)).collect();
        if let Some(before) = before.replace(counts) {
            let gains: Vec<DropView> = items.into_iter().filter_map(|row| gained(row, &before)).collect();
            show_gains(&gains, output)?;
        }
        thread::sleep(WATCH_EVERY);
    }
}

/// What a counter has gained; nothing if that is nothing. A counter that went back was made anew.
fn gained(row: DropView, before: &BTreeMap<String, u64>) -> Option<DropView> {
    let earlier = before.get(&row.reason).copied().unwrap_or(0);
    let packets = row.packets.checked_sub(earlier).unwrap_or(row.packets);
    (packets != 0).then_some(DropView { packets, ..row })
}

fn show_gains(gains: &[DropView], output: &Output) -> Result<(), Ending> {
    if output.format() == Format::Json {
        return Ok(output.json(gains)?);
    }
    for DropView { reason, meaning, packets } in gains {
        output::text(&format!("+{packets:<10} {reason:<24} {meaning}\n"))?;
    }
    Ok(())
}

/// The answer to another question than was asked.
pub(super) fn unexpected() -> Failure {
    Failure::new(Code::PROTOCOL, "the daemon answered something else than was asked")
        .fix("use the `dispatcher` that belongs to the daemon")
}
