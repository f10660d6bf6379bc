//! One member alone on a perfect disk: what a data dir holds is what the member that boots from it serves.
//!
//! Time passes only here: the member's tasks are run when they are due, syncs end at once, and nobody else is there.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use detcd_replica::api::{Credential, Error, Header, Request, Response, WatchRequest, WatchResponse};
use detcd_replica::time::Monotonic;
use detcd_replica::wire::rpc::Condition;
use detcd_replica::{
    Chance, Config, Dir, DiskCommand, DiskImage, FileName, Input, Output, Question, Replica, RequestId, Role, StreamId,
    Task,
};

/// How long a member may take until it leads and has applied its log, nanoseconds of its own time.
const SETTLE_MAX: u64 = 120_000_000_000;
/// What it is given after that, for what goes on behind: compactions, backend commits.
const SETTLED: u64 = 5_000_000_000;

/// How long an answer may take, nanoseconds of the member's time.
const ANSWER_MAX: u64 = 30_000_000_000;
/// Responses that a watcher takes.
const WINDOW: u32 = 10_000;

/// A member that runs alone.
pub(crate) struct Alone {
    replica: Replica,
    now: u64,
    due: BTreeMap<Task, u64>,
    inputs: VecDeque<Input>,
    files: Files,
    ended: Option<&'static str>,
    asked: u64,
    answer: Option<Result<Response, Error>>,
    heard: Vec<(StreamId, WatchResponse)>,
}

impl Alone {
    /// Boots a member and lets it run until it leads itself and has applied all that it has.
    ///
    /// # Errors
    /// It refuses to boot, ends by itself, or never gets so far.
    pub(crate) fn boot(config: Config, disk: DiskImage) -> Result<Self, String> {
        let mut outputs = Vec::new();
        let replica = Replica::boot(config, &disk, Monotonic(0), &mut outputs).map_err(|error| error.to_string())?;
        let mut alone = Self {
            replica,
            now: 0,
            due: BTreeMap::new(),
            inputs: VecDeque::new(),
            files: Files::new(disk),
            ended: None,
            asked: 0,
            answer: None,
            heard: Vec::new(),
        };
        alone.perform(&mut outputs);
        while !alone.is_settled() {
            alone.go_on(alone.now)?;
            if alone.now > SETTLE_MAX {
                let view = alone.replica.view();
                let (applied, commit) = (view.applied, view.commit);
                return Err(format!("it does not lead itself: applied {applied} of commit {commit}"));
            }
        }
        alone.go_on(alone.now + SETTLED)?;
        Ok(alone)
    }

    /// Asks it, and waits for the answer.
    ///
    /// # Errors
    /// It has ended by itself, or does not answer.
    pub(crate) fn ask(&mut self, credential: Credential, request: Request) -> Result<Result<Response, Error>, String> {
        self.asked += 1;
        self.answer = None;
        let until = self.now + ANSWER_MAX;
        self.step(Input::Request { id: RequestId(self.asked), credential, request });
        loop {
            if let Some(answer) = self.answer.take() {
                return Ok(answer);
            }
            if self.now > until {
                return Err("it does not answer".to_owned());
            }
            self.go_on(self.now)?;
        }
    }

    /// Opens a stream of watches.
    pub(crate) fn open(&mut self, credential: Credential) -> StreamId {
        self.asked += 1;
        let stream = StreamId(self.asked);
        self.step(Input::StreamOpen { stream, credential, window: WINDOW });
        stream
    }

    /// Says something on a stream.
    pub(crate) fn say(&mut self, stream: StreamId, request: WatchRequest) {
        self.step(Input::StreamRequest { stream, request });
    }

    /// Closes a stream.
    pub(crate) fn close(&mut self, stream: StreamId) {
        self.step(Input::StreamClosed { stream });
        self.heard.retain(|(other, _)| *other != stream);
    }

    /// Lets so many nanoseconds of the member's time pass.
    ///
    /// # Errors
    /// The member has ended by itself.
    pub(crate) fn wait(&mut self, nanos: u64) -> Result<(), String> {
        let until = self.now + nanos;
        while !self.inputs.is_empty() || self.due.values().any(|at| *at <= until) {
            self.go_on(self.now)?;
        }
        self.now = self.now.max(until);
        Ok(())
    }

    /// What has come on streams since it was last asked for, after so many more nanoseconds of the member's time.
    ///
    /// # Errors
    /// The member has ended by itself.
    pub(crate) fn listen(&mut self, nanos: u64) -> Result<Vec<(StreamId, WatchResponse)>, String> {
        self.wait(nanos)?;
        let heard = std::mem::take(&mut self.heard);
        for (stream, _) in &heard {
            self.step(Input::StreamGrant { stream: *stream, responses: 1 });
        }
        Ok(heard)
    }

    /// What an answer of this moment begins with.
    pub(crate) fn header(&self) -> Header {
        self.replica.look_header()
    }

    /// What its status tells beside its place in the log.
    pub(crate) fn condition(&self) -> Condition {
        self.replica.look_condition()
    }

    /// The member.
    pub(super) fn replica(&self) -> &Replica {
        &self.replica
    }

    /// What is on its disk.
    pub(super) fn image(&self) -> DiskImage {
        self.files.image()
    }

    fn is_settled(&self) -> bool {
        let view = self.replica.view();
        view.role == Role::Leader && view.applied == view.commit && view.commit == view.log.last_index()
    }

    /// Performs the next thing that is due, and all that are due until then.
    fn go_on(&mut self, until: u64) -> Result<(), String> {
        loop {
            if let Some(reason) = self.ended {
                return Err(format!("it ended by itself: {reason}"));
            }
            if let Some(input) = self.inputs.pop_front() {
                self.step(input);
            } else if let Some((&task, &at)) = self.due.iter().min_by_key(|(_, at)| **at) {
                self.due.remove(&task);
                self.now = self.now.max(at);
                self.step(Input::Run(task));
            } else {
                return Err("it has nothing left to do".to_owned());
            }
            if self.now >= until {
                return Ok(());
            }
        }
    }

    fn step(&mut self, input: Input) {
        let mut outputs = Vec::new();
        self.replica.step(Monotonic(self.now), input, &mut outputs);
        self.perform(&mut outputs);
    }

    fn perform(&mut self, outputs: &mut Vec<Output>) {
        for output in outputs.drain(..) {
            match output {
                Output::Disk { op, command } => {
                    if self.files.perform(command) {
                        self.inputs.push_back(Input::Disk { op, result: Ok(()) });
                    }
                }
                Output::Wake { task, after } => {
                    let at = self.now + after.as_nanos();
                    let due = self.due.entry(task).or_insert(at);
                    *due = at.min(*due);
                }
                // The answer comes before any other input.
                Output::Ask(Question::ElectionTimeout) => {
                    let ticks = self.replica.config().election_ticks;
                    self.inputs.push_front(Input::Chance(Chance::ElectionTimeout(ticks)));
                }
                Output::Exit { reason } => self.ended = Some(reason),
                Output::Reply { result, .. } => self.answer = Some(*result),
                Output::Stream { stream, response } => self.heard.push((stream, response)),
                Output::Send(_) | Output::SnapshotReceived { .. } | Output::Point(_) | Output::Event(_) => {}
            }
        }
    }
}

/// A disk on which everything succeeds at once and lasts.
pub(super) struct Files {
    contents: BTreeMap<FileName, Bytes>,
    /// As in a [`DiskImage`].
    lengths: BTreeMap<FileName, u64>,
}

impl Files {
    /// With these files on it.
    pub(super) fn new(image: DiskImage) -> Self {
        let contents = image.files.iter().map(|(name, content)| (*name, content.to_bytes())).collect();
        Self { contents, lengths: image.lengths }
    }

    /// What is on it.
    pub(super) fn image(&self) -> DiskImage {
        let files = self.contents.iter().map(|(name, content)| (*name, content.clone().into())).collect();
        DiskImage { files, lengths: self.lengths.clone() }
    }

    /// Performs a command. Whether its end must be told.
    pub(super) fn perform(&mut self, command: DiskCommand) -> bool {
        let Self { contents: files, lengths } = self;
        match command {
            DiskCommand::Create { file } => {
                files.insert(file, Bytes::new());
                lengths.remove(&file);
            }
            DiskCommand::Write { file, offset, data } => {
                let content = files.entry(file).or_default();
                let start = usize::try_from(offset).expect("a file fits into memory");
                let mut bytes = std::mem::take(content).try_into_mut().unwrap_or_else(|shared| shared[..].into());
                let end = start + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[start..end].copy_from_slice(&data.to_bytes());
                *content = bytes.freeze();
            }
            DiskCommand::Truncate { file, length } => {
                let content = files.entry(file).or_default();
                let size = usize::try_from(length).expect("a file fits into memory");
                if file.dir() == Dir::Wal || size <= content.len() {
                    // Preallocated segments are lengths.
                    content.truncate(size);
                    lengths.insert(file, length);
                } else {
                    let mut bytes = content.to_vec();
                    bytes.resize(size, 0);
                    *content = bytes.into();
                }
            }
            DiskCommand::Rename { from, to } => {
                if let Some(content) = files.remove(&from) {
                    files.insert(to, content);
                    match lengths.remove(&from) {
                        Some(length) => lengths.insert(to, length),
                        None => lengths.remove(&to),
                    };
                }
            }
            DiskCommand::Remove { file } => {
                files.remove(&file);
                lengths.remove(&file);
            }
            DiskCommand::Sync { .. } | DiskCommand::Fsync { .. } | DiskCommand::SyncDir { .. } => return true,
        }
        false
    }
}
