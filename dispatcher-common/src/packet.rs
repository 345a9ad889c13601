//! A frame, as the kernel and a test both hold one: bytes that are read and written at checked offsets.

/// Read access to a frame.
pub trait Packet {
    /// Bytes of the frame.
    fn length(&self) -> usize;

    /// Reads `N` bytes at `offset`, or nothing if the frame ends before.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;
}

/// Write access to a frame.
pub trait PacketMut: Packet {
    /// Writes `bytes` at `offset`, or nothing at all if the frame ends before.
    #[must_use]
    fn write<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Option<()>;
}

impl Packet for [u8] {
    fn length(&self) -> usize {
        self.len()
    }

    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }
}

impl PacketMut for [u8] {
    fn write<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Option<()> {
        *self.get_mut(offset..)?.first_chunk_mut()? = bytes;
        Some(())
    }
}
