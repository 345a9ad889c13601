//! The frame that a program holds, as one checked range.
#![expect(unsafe_code, reason = "packet bytes are reached by pointers that the verifier checks")]

use aya_ebpf::programs::XdpContext;

use crate::layout::{self, Frame, Template, UDP};

/// All that the programs need of a frame.
#[inline(always)]
pub fn whole(context: &XdpContext) -> Option<&mut Frame> {
    let address = context.data();
    if address + size_of::<Frame>() > context.data_end() {
        return None;
    }
    // SAFETY: the range was just compared with the end of the frame, the type is packed integers, for which every bit
    // pattern is valid at every address, and nobody else touches the frame while its program runs.
    Some(unsafe { &mut *(address as *mut Frame) })
}

/// Writes a template as the packet of a flow.
#[inline(always)]
pub fn write(context: &XdpContext, template: &Template, flow: u64) -> Option<()> {
    let frame = whole(context)?;
    copy(template, frame);
    let (low, port) = (layout::source_low(flow).to_be(), layout::source_port(flow).to_be());
    frame.source_low = low;
    frame.source_port = port;
    frame.ip_sum = add(frame.ip_sum, u32::from(low));
    add_to_transport(frame, u32::from(low) + u32::from(port));
    Some(())
}

/// Copies word by word: a copy of the whole, which has no alignment, is compiled to one byte by byte.
#[inline(always)]
fn copy(template: &Template, frame: &mut Frame) {
    let start = core::ptr::from_mut(frame).cast::<u64>();
    let [a, b, c, d, e, f, g] = template.words;
    for (place, word) in [a, b, c, d, e, f, g].into_iter().enumerate() {
        // SAFETY: a frame has seven words of eight bytes and one of four.
        unsafe { start.add(place).write_unaligned(word) };
    }
    // SAFETY: as above.
    unsafe { start.add(7).cast::<u32>().write_unaligned(template.last) };
}

/// Adds words to what the checksum of TCP or UDP covers.
#[inline(always)]
pub fn add_to_transport(frame: &mut Frame, words: u32) {
    if frame.protocol == UDP {
        frame.udp_sum = add(frame.udp_sum, words);
    } else {
        frame.tcp_sum = add(frame.tcp_sum, words);
    }
}

/// A checksum after words were added to what it covers (RFC 1624, equation 3). Ones' complement sums do not care for
/// byte order (RFC 1071, 2): all words are as they stand in the packet.
#[inline(always)]
pub fn add(sum: u16, words: u32) -> u16 {
    let sum = u32::from(!sum) + words;
    let once = (sum & 0xffff) + (sum >> 16);
    !(((once & 0xffff) + (once >> 16)) as u16)
}
