//! Shows what the daemon answered.

use serde::Serialize;

use super::{Ending, args::Format};
use crate::{
    control::api::{BackendView, DropView, PoolView, Response, ServiceView, SessionView, StatusView},
    output::{
        self, Output,
        rows::{Version, facts, pool_facts, session_facts},
    },
};

/// Shows an answer; `done` are the words for a request that did something.
pub(super) fn response(response: &Response, done: Option<&str>, output: &Output) -> Result<(), Ending> {
    match response {
        Response::Done { notes } => {
            if output.format() == Format::Json {
                output.json::<()>(&[])?;
            }
            for words in done.into_iter().chain(notes.iter().map(String::as_str)) {
                output.note(words);
            }
        }
        Response::Status(view) => status(view, output)?,
        Response::Services { items } => output.rows(items)?,
        Response::Service { service, backends } => one_service(service, backends, output)?,
        Response::Backends { items } => output.rows(items)?,
        Response::Flows { items, more } => {
            output.rows(items)?;
            if *more {
                output.note(&format!("there are more than these {}; --limit shows more", items.len()));
            }
        }
        Response::Locks { items } => output.rows(items)?,
        Response::Sessions { items, more } => {
            output.rows(items)?;
            if *more {
                output.note(&format!("there are more than these {}; --limit shows more", items.len()));
            }
        }
        Response::Session(view) => session(view, output)?,
        Response::Tunnels { items } => output.rows(items)?,
        Response::Pool(view) => pool(view, output)?,
        Response::Classes { items } => output.rows(items)?,
        Response::Drops { items } => drops(items, output)?,
        Response::Config { toml } => configuration(toml, output)?,
        Response::Failed(failure) => return Err(failure.clone().into()),
    }
    Ok(())
}

fn status(view: &StatusView, output: &Output) -> Result<(), Ending> {
    if output.format() == Format::Json {
        return Ok(output.json(std::slice::from_ref(view))?);
    }
    output.rows(&facts(view))?;
    output::text("\n")?;
    Ok(output.rows(&view.interfaces)?)
}

fn one_service(service: &ServiceView, backends: &[BackendView], output: &Output) -> Result<(), Ending> {
    #[derive(Serialize)]
    struct Item<'a> {
        service: &'a ServiceView,
        backends: &'a [BackendView],
    }
    if output.format() == Format::Json {
        return Ok(output.json(&[Item { service, backends }])?);
    }
    output.rows(std::slice::from_ref(service))?;
    output::text("\n")?;
    Ok(output.rows(backends)?)
}

fn session(view: &SessionView, output: &Output) -> Result<(), Ending> {
    if output.format() == Format::Json {
        return Ok(output.json(std::slice::from_ref(view))?);
    }
    output.rows(&session_facts(view))?;
    if view.clients.is_empty() {
        output.note("no TLS connection of its client stands");
        return Ok(());
    }
    output::text("\n")?;
    Ok(output.rows(&view.clients)?)
}

fn pool(view: &PoolView, output: &Output) -> Result<(), Ending> {
    if output.format() == Format::Json {
        return Ok(output.json(std::slice::from_ref(view))?);
    }
    output.rows(&pool_facts(view))?;
    output::text("\n")?;
    output.rows(&view.tunnels)?;
    output::text("\n")?;
    Ok(output.rows(&view.counters)?)
}

/// Counters at zero are left to wide listings and JSON.
fn drops(items: &[DropView], output: &Output) -> Result<(), Ending> {
    if output.format() != Format::Table {
        return Ok(output.rows(items)?);
    }
    let counted: Vec<DropView> = items.iter().filter(|row| row.packets != 0).cloned().collect();
    output.rows(&counted)?;
    if counted.len() < items.len() {
        output.note(&format!("reasons at zero, which -o wide shows: {}", items.len() - counted.len()));
    }
    Ok(())
}

/// Shows a configuration as the file that it is.
pub(super) fn configuration(toml: &str, output: &Output) -> Result<(), Ending> {
    #[derive(Serialize)]
    struct Item<'a> {
        toml: &'a str,
    }
    match output.format() {
        Format::Json => output.json(&[Item { toml }])?,
        Format::Table | Format::Wide => output::text(toml)?,
    }
    Ok(())
}

/// Shows the version of this program.
pub(super) fn version(version: &Version, output: &Output) -> Result<(), Ending> {
    match output.format() {
        Format::Json => output.json(std::slice::from_ref(version))?,
        Format::Table | Format::Wide => output::text(&format!("{} {}\n", version.name, version.version))?,
    }
    Ok(())
}
