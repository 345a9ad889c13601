//! Asks the daemon.

use std::{collections::BTreeMap, path::Path, thread, time::Duration};

use super::{Ending, args::Format, request, show};
use crate::{
    control::{
        api::{DropView, Request, Response},
        client::Client,
    },
    failure::Failure,
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
        let response = client.call(Request::Drops).map_err(Failure::from)?;
        let Response::Drops { items } = response else {
            // A failure, which this makes an ending of; or the answer to another question, which it shows.
            return show::response(&response, None, output);
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
