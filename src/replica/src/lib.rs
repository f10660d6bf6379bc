//! What etcd is: one member, as a pure function of its inputs.
//!
//! A [`Replica`] holds the whole member (Raft, WAL, backend, MVCC, watch). It does no I/O, reads no clock and draws no
//! randomness, so a run, by whichever driver, is its list of inputs. The loop of every driver is the same:
//!
//! ```text
//! take one Input  →  Replica::step(now, input, &mut outputs)  →  perform the outputs, in order
//! ```
//!
//! # The laws
//!
//! 1. **Pure.** Same config, disk image and inputs: same outputs, bit for bit. Chance enters only as an input
//!    ([`Input::Chance`]), time only as the argument `now`.
//! 2. **Total.** `step` cannot fail. A bad message is ignored or answered; a broken invariant panics, and that panic
//!    is a finding.
//! 3. **Crash is drop, restart is boot.** A crash drops the value; a restart is [`Replica::boot`] from what was
//!    durable.
//! 4. **In order.** Outputs are performed in the order given. A crash may fall between any two of them.
//! 5. **Bounded.** Every queue has a limit in [`Config`].
//!
//! This crate knows nothing of simulation, networks, files, threads, judges or command lines.

mod alarm;
pub mod api;
mod auth;
pub mod backend;
mod bug;
mod bytewise;
mod compactor;
mod config;
pub mod history;
mod ids;
mod io;
pub mod lease;
mod log;
pub mod membership;
pub mod mvcc;
pub mod pager;
mod quota;
mod release;
mod replica;
mod snap;
pub mod time;
mod view;
pub mod wal;
pub mod wire;

pub use auth::{AuthConfig, TokenKind};
pub use bug::{Bug, Bugs};
pub use compactor::AutoCompaction;
pub use config::{Address, Config, ConfigError};
pub use ids::{MemberId, OpId, RequestId, StreamId, WatchId};
pub use io::{
    BootError, Chance, Chunk, Dir, DiskCommand, DiskError, DiskImage, Event, Failpoint, FileName, HashAnswer,
    HashMessage, Input, LeaseAnswer, LeaseAsk, LeaseMessage, Output, PeerMessage, Question, Rope, Task,
};
pub use lease::Lease;
pub use release::Release;
pub use replica::Replica;
pub use view::{LogView, Role, Timeline, View};

/// Raft's messages, as raft-rs declares them.
pub use raft::eraftpb as raftpb;
