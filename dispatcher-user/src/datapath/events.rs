//! First packets on their way up: the records of the ring buffer, as events for the core.

use std::os::fd::{AsRawFd, RawFd};

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use bytes::Bytes;
use dispatcher_common::{
    event::{EventHeader, HEADER_BYTES, flags},
    table,
};
use tokio::io::{Interest, unix::AsyncFd};
use zerocopy::FromBytes as _;

use super::load::LoadError;
use crate::core::event::Upcall;

/// The daemon's end of `dsp_events`.
#[derive(Debug)]
pub struct Events {
    ring: AsyncFd<Consumer>,
}

/// [`RingBuf`] with the traits that [`AsyncFd`] wants.
struct Consumer(RingBuf<MapData>);

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Consumer")
    }
}

impl AsRawFd for Consumer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Events {
    /// Takes the ring buffer out of a loaded object.
    ///
    /// # Errors
    /// If the object has none, or it cannot be mapped or polled.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        let map = ebpf.take_map(table::EVENTS).ok_or(LoadError::Incomplete(table::EVENTS))?;
        let consumer = Consumer(map.try_into()?);
        #[expect(deprecated, reason = "its successor is unsafe; Consumer owns its descriptor and never changes it")]
        let ring = AsyncFd::with_interest(consumer, Interest::READABLE).map_err(LoadError::Poll)?;
        Ok(Self { ring })
    }

    /// Waits until there may be records. Safe to cancel.
    ///
    /// # Errors
    /// If the ring buffer can no longer be polled.
    pub async fn ready(&mut self) -> std::io::Result<()> {
        self.ring.readable_mut().await?.clear_ready();
        Ok(())
    }

    /// Hands up to `limit` packets to `handle`, in order; true if there may be more.
    ///
    /// A record is consumed only after `handle` has returned. The kernel counts on this: a held flow opens when all that
    /// went up before is consumed, which must mean that it has been sent on.
    pub fn drain(&mut self, limit: usize, mut handle: impl FnMut(Upcall)) -> bool {
        let ring = &mut self.ring.get_mut().0;
        for _ in 0..limit {
            let Some(record) = ring.next() else { return false };
            match decode(&record) {
                Some(upcall) => handle(upcall),
                None => tracing::error!(bytes = record.len(), "a record of the ring buffer makes no sense"),
            }
        }
        true
    }
}

/// Reads a record; nothing if it contradicts itself.
fn decode(record: &[u8]) -> Option<Upcall> {
    let (header, rest) = EventHeader::read_from_prefix(record).ok()?;
    debug_assert_eq!(record.len() - rest.len(), HEADER_BYTES);
    let frame = Bytes::copy_from_slice(rest.get(..usize::from(header.length))?);
    Some(Upcall {
        service: header.service,
        ifindex: header.ifindex,
        placed_lock: header.flags & flags::PLACED_LOCK != 0,
        frame,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_shorter_than_it_says_is_refused() {
        let mut record = vec![0; 192];
        record[8] = 7;
        record[12] = 100;
        record[14] = 3;
        record[16] = flags::PLACED_LOCK;
        record[HEADER_BYTES] = 0xaa;
        let upcall = decode(&record).unwrap();
        assert_eq!((upcall.ifindex, upcall.service, upcall.placed_lock), (7, 3, true));
        assert_eq!((upcall.frame.len(), upcall.frame[0]), (100, 0xaa));
        assert!(decode(&record[..100]).is_none());
        assert!(decode(&record[..10]).is_none());
    }
}
