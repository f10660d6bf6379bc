//! Who pumps the world's queue: a bare loop, or madsim. Both must end with the same digest.
//!
//! madsim lends its interception: inside it the system's clock and entropy are simulated and threads are refused, so
//! that a stray `Instant::now` or `thread::spawn` anywhere below shows. No decision is drawn from its clock or
//! generator.

use crate::world::World;

/// Who pumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// A loop.
    Bare,
    /// A task in madsim's runtime. Without `--cfg madsim` it is a loop all the same.
    Madsim,
}

/// Run `acts` on the world, under this host. `acts` is given what lets the next event happen.
pub(crate) fn host<R>(
    host: Host,
    seed: u64,
    world: &mut World<'_>,
    acts: impl FnOnce(&mut World<'_>, &mut dyn FnMut(&mut World<'_>) -> bool) -> R,
) -> R {
    match host {
        Host::Bare => acts(world, &mut |world| world.advance()),
        Host::Madsim => in_madsim(seed, world, acts),
    }
}

/// So far madsim's clock may be behind ours, nanoseconds: to set it costs as much as a small event.
#[cfg(madsim)]
const BEHIND: u64 = 1_000_000;

#[cfg(madsim)]
fn in_madsim<R>(
    seed: u64,
    world: &mut World<'_>,
    acts: impl FnOnce(&mut World<'_>, &mut dyn FnMut(&mut World<'_>) -> bool) -> R,
) -> R {
    let runtime = madsim::runtime::Runtime::with_seed_and_config(seed, madsim::Config::default());
    runtime.block_on(async move {
        let mut told = 0;
        acts(world, &mut |world| {
            if let Some(next) = world.next_time() {
                // madsim's clock follows ours, from afar, so that whoever asks for the time by accident gets the same
                // answer twice.
                if next >= told + BEHIND {
                    madsim::time::advance(core::time::Duration::from_nanos(next - told));
                    told = next;
                }
            }
            world.advance()
        })
    })
}

#[cfg(not(madsim))]
fn in_madsim<R>(
    _seed: u64,
    world: &mut World<'_>,
    acts: impl FnOnce(&mut World<'_>, &mut dyn FnMut(&mut World<'_>) -> bool) -> R,
) -> R {
    acts(world, &mut |world| world.advance())
}
