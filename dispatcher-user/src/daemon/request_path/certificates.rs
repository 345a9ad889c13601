//! Sees that certificate files have changed, and shows the new certificates from then on.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf, sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    core::model::CertificateSpec,
    ingress::{accept::Edge, relay::Relay},
};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Tells a file from what it was: device, inode, bytes, and when it was written. Nothing if it cannot be seen.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// Follows the files of a service's certificates, for ever.
///
/// Chain and key are two files, and may be seen while one of them is new and the other old. Then they do not fit, what is
/// shown stays, and they are tried again when they have changed again.
pub(super) async fn follow(service: Arc<str>, edge: Arc<Edge<Relay>>, files: Vec<CertificateSpec>) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = stamps(&files);
    loop {
        ticks.tick().await;
        let found = stamps(&files);
        if found == known {
            continue;
        }
        known = found;
        let Some(tls) = edge.tls() else { return };
        match tls.swap(&files) {
            Ok(()) => tracing::info!(%service, "certificates were read anew"),
            Err(error) => tracing::error!(%service, "changed certificates are not used: {error}"),
        }
    }
}

fn stamps(files: &[CertificateSpec]) -> Vec<Stamp> {
    let paths = files.iter().flat_map(|file| [Some(&file.chain), Some(file.key_file()), file.ocsp.as_ref()]);
    paths.flatten().map(stamp).collect()
}

fn stamp(path: &PathBuf) -> Stamp {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}
