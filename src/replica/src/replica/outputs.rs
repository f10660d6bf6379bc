//! The outputs of the step under way, and the numbers of disk commands.

use crate::time::Span;
use crate::wal::Commands;
use crate::{DiskCommand, Event, Failpoint, OpId, Output, Task};

/// Where a step puts what it wants done, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Outputs {
    list: Vec<Output>,
    pub(super) last_op: u64,
}

impl Outputs {
    /// Borrow the caller's list for one step, so that its memory is used again and again.
    pub(super) fn start(&mut self, caller: &mut Vec<Output>) {
        std::mem::swap(&mut self.list, caller);
    }

    /// Give it back.
    pub(super) fn finish(&mut self, caller: &mut Vec<Output>) {
        std::mem::swap(&mut self.list, caller);
    }

    pub(super) fn push(&mut self, output: Output) {
        self.list.push(output);
    }

    pub(super) fn event(&mut self, event: Event) {
        self.list.push(Output::Event(event));
    }

    pub(super) fn point(&mut self, point: Failpoint) {
        self.list.push(Output::Point(point));
    }

    pub(super) fn wake(&mut self, task: Task, after: Span) {
        self.list.push(Output::Wake { task, after });
    }

    pub(super) fn wake_now(&mut self, task: Task) {
        self.wake(task, Span::ZERO);
    }
}

impl Commands for Outputs {
    fn issue(&mut self, command: DiskCommand) -> OpId {
        self.last_op += 1;
        let op = OpId(self.last_op);
        self.list.push(Output::Disk { op, command });
        op
    }

    fn point(&mut self, point: Failpoint) {
        self.list.push(Output::Point(point));
    }
}
