//! A client's connection whose HTTP/2 header blocks are mended ([`authority`]) on their way in.
//!
//! Promises: all else goes on as it came, and every byte keeps its place. Only a header block is held back, until it is
//! whole, at most [`FRAGMENTS_MAX`] frames of [`FRAME_MAX`] bytes. HTTP/1.1 is let through. So is what follows anything
//! that is malformed: HTTP/2 behind refuses that, and says to the client why.
//!
//! It does not know streams, settings or HPACK, and nothing of what goes out.

use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::pin::Pin;
use std::task::{ready, Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::authority;
use super::grpc::METADATA_MAX;

/// What a connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What a frame begins with: its length, kind, flags and stream.
const HEAD: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// The longest frame with headers, in bytes; nothing else is allowed to clients.
const FRAME_MAX: usize = 16 << 10;
/// The most frames with one header block: as many as [`METADATA_MAX`] fills, and some that are not full. HTTP/2 behind
/// takes a quarter more than are full, beside the first and the last.
const FRAGMENTS_MAX: usize = METADATA_MAX as usize / FRAME_MAX * 5 / 4 + 2;
/// How much is read at once, in bytes.
const CHUNK: usize = 8 << 10;

/// A connection, which is read mended and written as it is.
pub(super) struct MendedHeaders<C> {
    connection: C,
    frames: Frames,
    /// What was read and not gone on.
    held: BytesMut,
    /// How much of it may go on.
    passed: usize,
}

impl<C> MendedHeaders<C> {
    /// Of a connection of which nothing has been read.
    pub(super) fn new(connection: C) -> Self {
        Self { connection, frames: Frames::Preface, held: BytesMut::new(), passed: 0 }
    }
}

/// Where in the connection the next byte is.
enum Frames {
    /// Before the end of the preface.
    Preface,
    /// So many bytes before the head of a frame.
    Before(usize),
    /// Where nothing is looked at any more.
    Through,
}

/// What no HTTP/2 is.
struct Malformed;

/// Where the parts of a header block are, in their order.
type Fragments = Vec<Range<usize>>;

impl Frames {
    /// Mends what is next in the connection, and says how many bytes of it may go on. The others come again, with more
    /// behind them.
    fn pass(&mut self, next: &mut [u8]) -> usize {
        let mut done = 0;
        loop {
            let rest = &mut next[done..];
            match self {
                Self::Preface if rest.len() >= PREFACE.len() && rest.starts_with(PREFACE) => {
                    *self = Self::Before(PREFACE.len());
                }
                Self::Preface if PREFACE.starts_with(rest) => return done,
                Self::Preface => *self = Self::Through,
                Self::Before(left @ 1..) => {
                    let skipped = rest.len().min(*left);
                    (*left, done) = (*left - skipped, done + skipped);
                    if *left > 0 {
                        return done;
                    }
                }
                Self::Before(_) => match Head::read(rest) {
                    None => return done,
                    Some(head) if head.kind != HEADERS => *self = Self::Before(HEAD + head.length),
                    Some(_) => match header_block(rest) {
                        Ok(None) => return done,
                        Ok(Some((fragments, end))) => {
                            mend(rest, &fragments);
                            *self = Self::Before(end);
                        }
                        Err(Malformed) => *self = Self::Through,
                    },
                },
                Self::Through => return next.len(),
            }
        }
    }
}

struct Head {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, kind, flags, d, e, f, g] = bytes.first_chunk::<HEAD>()?;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        Some(Self { length, kind, flags, stream: u32::from_be_bytes([d, e, f, g]) })
    }
}

/// Where the fragments of the header block are that begins the bytes, and where its last frame ends; nothing when that
/// has not come.
fn header_block(bytes: &[u8]) -> Result<Option<(Fragments, usize)>, Malformed> {
    let (mut fragments, mut at, mut stream) = (Fragments::new(), 0, None);
    while let Some(head) = Head::read(&bytes[at..]) {
        let is_first = fragments.is_empty();
        let kind = if is_first { HEADERS } else { CONTINUATION };
        let follows = head.kind == kind && *stream.get_or_insert(head.stream) == head.stream;
        if !follows || head.length > FRAME_MAX || fragments.len() == FRAGMENTS_MAX {
            return Err(Malformed);
        }
        let mut place = at + HEAD..at + HEAD + head.length;
        let Some(payload) = bytes.get(place.clone()) else { return Ok(None) };
        at = place.end;
        if is_first {
            let padding = if head.flags & PADDED == 0 { None } else { Some(*payload.first().ok_or(Malformed)?) };
            place.start += usize::from(padding.is_some()) + if head.flags & PRIORITY == 0 { 0 } else { 5 };
            let end = place.end.checked_sub(usize::from(padding.unwrap_or_default()));
            place.end = end.filter(|end| place.start <= *end).ok_or(Malformed)?;
        }
        fragments.push(place);
        if head.flags & END_HEADERS != 0 {
            return Ok(Some((fragments, at)));
        }
    }
    Ok(None)
}

/// Mends the block that these fragments are.
fn mend(bytes: &mut [u8], fragments: &[Range<usize>]) {
    if let [only] = fragments {
        return authority::mend(&mut bytes[only.clone()]);
    }
    let mut block: Vec<u8> = fragments.iter().flat_map(|place| &bytes[place.clone()]).copied().collect();
    authority::mend(&mut block);
    let mut rest = &block[..];
    for place in fragments {
        let (fragment, after) = rest.split_at(place.len());
        bytes[place.clone()].copy_from_slice(fragment);
        rest = after;
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for MendedHeaders<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.passed == 0 {
            let mut chunk = [MaybeUninit::uninit(); CHUNK];
            let mut chunk = ReadBuf::uninit(&mut chunk);
            ready!(Pin::new(&mut this.connection).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                // What has not come whole goes on as it is, for the reader to see that it is cut off.
                this.frames = Frames::Through;
                this.passed = this.held.len();
                break;
            }
            this.held.extend_from_slice(chunk.filled());
            this.passed = this.frames.pass(&mut this.held);
        }
        let length = this.passed.min(out.remaining());
        out.put_slice(&this.held[..length]);
        this.held.advance(length);
        this.passed -= length;
        Poll::Ready(Ok(()))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for MendedHeaders<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::Empty;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::dice::Dice;

    const DATA: u8 = 0;
    const RESET: u8 = 3;
    const SETTINGS: u8 = 4;
    /// A header block with `:authority`, and what becomes of it.
    const BLOCK: &[u8] = b"\x83\x86\x84\x41\x0ahttp://h:1";
    const MENDED: &[u8] = b"\x83\x86\x84\x41\x0ahttpx--hx1";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// What comes of bytes that come in parts, the first of that length.
    fn pass(bytes: &[u8], first: usize) -> Vec<u8> {
        let mut frames = Frames::Preface;
        let (mut held, mut out) = (Vec::new(), Vec::new());
        for part in [&bytes[..first], &bytes[first..]] {
            held.extend_from_slice(part);
            let passed = frames.pass(&mut held);
            out.extend(held.drain(..passed));
        }
        // The connection's end.
        out.extend(held);
        out
    }

    /// It comes out the same, wherever it is split.
    #[track_caller]
    fn check(frames: &[Vec<u8>], expect: &[Vec<u8>]) {
        let with_preface = |frames: &[Vec<u8>]| [&PREFACE[..], &frames.concat()].concat();
        let (bytes, expect) = (with_preface(frames), with_preface(expect));
        for first in 0..=bytes.len() {
            assert_eq!(pass(&bytes, first), expect, "split at {first}");
        }
    }

    #[test]
    fn header_blocks_are_mended_wherever_they_are_split() {
        let around = |headers: Vec<Vec<u8>>| {
            let settings = frame(SETTINGS, 0, b"");
            // Its data looks like a frame.
            let data = frame(DATA, 1, &frame(HEADERS, END_HEADERS, BLOCK));
            [vec![settings], headers, vec![data]].concat()
        };
        let with = |flags: u8, before: &[u8], after: &[u8]| {
            let headers = |block: &[u8]| vec![frame(HEADERS, END_HEADERS | flags, &[before, block, after].concat())];
            check(
                &around([headers(BLOCK), headers(BLOCK)].concat()),
                &around([headers(MENDED), headers(MENDED)].concat()),
            );
        };
        with(0, b"", b"");
        with(PADDED, b"\x03", b"\0\0\0");
        with(PRIORITY, b"\0\0\0\0\x10", b"");
        with(PADDED | PRIORITY, b"\x01\0\0\0\0\x10", b"\0");
        // In three frames, the second of which is empty.
        for place in 0..=BLOCK.len() {
            let split = |block: &[u8]| {
                let (first, last) = block.split_at(place);
                let padded = [&[2], first, b"\0\0"].concat();
                around(vec![
                    frame(HEADERS, PADDED, &padded),
                    frame(CONTINUATION, 0, b""),
                    frame(CONTINUATION, END_HEADERS, last),
                ])
            };
            check(&split(BLOCK), &split(MENDED));
        }
    }

    #[test]
    fn what_is_malformed_goes_on_with_all_that_follows() {
        let sound = frame(HEADERS, END_HEADERS, BLOCK);
        let padded = frame(HEADERS, END_HEADERS | PADDED, &[&[BLOCK.len() as u8 + 1], BLOCK].concat());
        let empty = frame(HEADERS, END_HEADERS | PADDED, b"");
        let short = frame(HEADERS, END_HEADERS | PRIORITY, b"\0\0\0\0");
        let interrupted = [frame(HEADERS, 0, BLOCK), frame(DATA, 0, b"")].concat();
        let mut other_stream = [frame(HEADERS, 0, BLOCK), frame(CONTINUATION, END_HEADERS, b"")].concat();
        *other_stream.iter_mut().nth_back(0).expect("a stream") = 3;
        let many = [frame(HEADERS, 0, BLOCK), frame(CONTINUATION, 0, b"").repeat(FRAGMENTS_MAX)].concat();
        for malformed in [padded, empty, short, interrupted, other_stream, many] {
            check(&[malformed.clone(), sound.clone()], &[malformed, sound.clone()]);
        }
        // One that is too long is not waited for.
        let long = [&PREFACE[..], &frame(HEADERS, END_HEADERS, &vec![0; FRAME_MAX + 1])[..HEAD]].concat();
        assert_eq!(Frames::Preface.pass(&mut long.clone()), long.len());
        for other in [&b"POST /v3/kv/put HTTP/1.1\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", b"\x16\x03\x01", b""] {
            let other = [other, &sound].concat();
            assert!((0..=other.len()).all(|first| pass(&other, first) == other));
        }
    }

    #[test]
    fn garbage_is_the_same_wherever_it_is_split() {
        let mut dice = Dice(1);
        for _ in 0..20_000 {
            let mut bytes = PREFACE.to_vec();
            for _ in 0..dice.below(5) {
                let length = dice.below(30) as usize;
                let payload: Vec<u8> = (0..length).map(|_| dice.next() as u8).collect();
                let (kind, flags) = (dice.pick(&[HEADERS, HEADERS, CONTINUATION, DATA]), dice.next() as u8);
                bytes.extend(frame(kind, flags, &payload));
            }
            bytes.truncate(bytes.len() - dice.below(9) as usize);
            let first = dice.below(bytes.len() as u64) as usize;
            let whole = pass(&bytes, bytes.len());
            assert_eq!(whole.len(), bytes.len());
            assert_eq!(pass(&bytes, first), whole, "split at {first}");
        }
    }

    /// The first frame of the call's stream that hyper answers a call with: its kind, and what it begins with.
    async fn answer(
        block: &[u8],
        wrap: impl FnOnce(tokio::io::DuplexStream) -> Box<dyn crate::serve::net::Connection>,
    ) -> (u8, Option<u8>) {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let service = hyper::service::service_fn(|_| async {
            Ok::<_, Infallible>(hyper::Response::new(Empty::<bytes::Bytes>::new()))
        });
        let connection = TokioIo::new(wrap(server));
        tokio::spawn(async move {
            crate::serve::grpc::connections(1)
                .serve_connection(connection, service)
                .await
                .map_err(|error| error.to_string())
        });
        let mut settings = frame(SETTINGS, 0, b"");
        settings[HEAD - 1] = 0;
        let last = block.len().div_ceil(FRAME_MAX) - 1;
        let frames = block.chunks(FRAME_MAX).enumerate().map(|(place, fragment)| {
            let kind = if place == 0 { HEADERS } else { CONTINUATION };
            // The call has no body.
            let flags = u8::from(place == 0) | if place == last { END_HEADERS } else { 0 };
            frame(kind, flags, fragment)
        });
        let call = [&PREFACE[..], &settings, &frames.collect::<Vec<_>>().concat()].concat();
        // Byte by byte, which is the worst that can happen to frames; long ones by the thousand.
        for bytes in call.chunks(1 + block.len() / 100) {
            client.write_all(bytes).await.expect("it is read");
            tokio::task::yield_now().await;
        }
        loop {
            let mut head = [0; HEAD];
            client.read_exact(&mut head).await.expect("it answers");
            let head = Head::read(&head).expect("it is whole");
            let mut payload = vec![0; head.length];
            client.read_exact(&mut payload).await.expect("it is whole");
            if head.stream == 1 {
                return (head.kind, payload.first().copied());
            }
        }
    }

    /// `:status: 200` in HPACK's static table.
    const OK: (u8, Option<u8>) = (HEADERS, Some(0x88));

    #[tokio::test]
    async fn hyper_takes_what_it_would_refuse() {
        assert_eq!(answer(BLOCK, |connection| Box::new(connection)).await.0, RESET);
        assert_eq!(answer(BLOCK, |connection| Box::new(MendedHeaders::new(connection))).await, OK);
        assert_eq!(answer(MENDED, |connection| Box::new(connection)).await, OK);
    }

    #[tokio::test]
    async fn metadata_may_be_long() {
        for (length, takes) in [(20_000, true), (1_000_000, true), (1_100_000, false)] {
            // `x`, not indexed, and its length as HPACK has it: 127 and the rest in sevens.
            let rest = length - 127;
            let sevens = [rest & 127 | 128, rest >> 7 & 127 | 128, rest >> 14];
            let field = [&b"\x00\x01x\x7f"[..], &sevens.map(|seven| seven as u8), &vec![b'v'; length]].concat();
            let block = [BLOCK, &field].concat();
            let answered = answer(&block, |connection| Box::new(MendedHeaders::new(connection))).await;
            assert_eq!(answered == OK, takes, "{length}: {answered:?}");
        }
    }
}
