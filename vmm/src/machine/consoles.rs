// SPDX-License-Identifier: MIT OR Apache-2.0
//! COM1, the virtio consoles and the debug console, each with its far end, and the threads between
//! them.
//!
//! One thread a port reads its far end; one more a virtio console prints to it, so that neither
//! processors nor queues wait. They end with the process: nothing can interrupt a read from a
//! terminal in good order. A reset of the machine is nothing to them.

use crate::confine::{Confinement, Role};
use crate::console::{self, Closing, End, Guest};
use crate::devices::virtio::console::Wire;
use crate::processor::{PanicGuard, Shared};
use crate::report::Ending;
use crate::{Error, signals};
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

/// How long a far end gets at the end of the run to take what was printed.
const PATIENCE: Duration = Duration::from_millis(500);

/// All of them.
#[derive(Debug, Default)]
pub struct Consoles {
    all: Vec<Attached>,
    /// Readable when the terminal has another size, if that is something to anybody.
    resized: Option<File>,
}

#[derive(Debug)]
struct Attached {
    end: Arc<End>,
    guest: Arc<dyn Guest>,
    /// COM1 and the debug console have none: their processor prints.
    wire: Option<Arc<Wire>>,
    _closing: Closing,
}

impl Consoles {
    /// Joins the near ends with the far ones, before the machine has any thread: `ports`, which print
    /// by themselves, and virtio consoles.
    pub fn new(
        ports: impl IntoIterator<Item = (Arc<dyn Guest>, End)>,
        wires: impl IntoIterator<Item = (Wire, End)>,
    ) -> Result<Self, Error> {
        let mut consoles = Self::default();
        for (port, end) in ports {
            consoles.add(port, None, end);
        }
        for (wire, end) in wires {
            if end.is_stdio() && end.size().is_some() {
                let resizes = signals::resizes();
                let resizes = resizes.map_err(Error::host("watching the terminal's size"))?;
                consoles.resized = Some(resizes);
            }
            let wire = Arc::new(wire);
            consoles.add(Arc::clone(&wire) as _, Some(wire), end);
        }
        Ok(consoles)
    }

    fn add(&mut self, guest: Arc<dyn Guest>, wire: Option<Arc<Wire>>, end: End) {
        let end = Arc::new(end);
        self.all.push(Attached {
            _closing: Closing(Arc::clone(&end)),
            end,
            guest,
            wire,
        });
    }

    /// The machine is complete: the far ends may be changed now.
    pub fn begin(&self) -> Result<(), console::Error> {
        self.all.iter().try_for_each(|it| it.end.begin())
    }

    /// Whether one of them leads to standard input and output.
    pub fn use_stdio(&self) -> bool {
        self.all.iter().any(|it| it.end.is_stdio())
    }

    /// Sets the threads going.
    pub fn start(&self, shared: &Arc<Shared>, confinement: &Confinement) -> Result<(), Error> {
        let spawn = |name, work: Work| spawn(name, shared, confinement, work);
        for Attached {
            end, guest, wire, ..
        } in &self.all
        {
            if let Some(wire) = wire {
                let (wire, mut output) = (Arc::clone(wire), end.output()?);
                let print = move || {
                    loop {
                        wire.print(&mut output)?;
                    }
                };
                spawn("console output", Box::new(print))?;
            }
            if !end.is_mute() {
                let (end, guest) = (Arc::clone(end), Arc::clone(guest));
                spawn("console input", Box::new(move || end.pump(&guest)))?;
            }
        }
        Ok(())
    }

    /// What becomes readable when [`Self::resize`] has something to do.
    pub fn resized(&self) -> Option<&File> {
        self.resized.as_ref()
    }

    /// Tells the guest the size of the terminal.
    pub fn resize(&self) -> io::Result<()> {
        if let Some(mut resized) = self.resized.as_ref() {
            // Nothing if it was read already.
            let _ = resized.read(&mut [0; 256]);
        }
        for Attached { end, guest, .. } in &self.all {
            if let (true, Some(size)) = (end.is_stdio(), end.size()) {
                guest.resize(size)?;
            }
        }
        Ok(())
    }

    /// Lets the far ends take what was printed.
    pub fn drain(&self) {
        for wire in self.all.iter().filter_map(|it| it.wire.as_ref()) {
            wire.drain(PATIENCE);
        }
    }
}

/// Gives whether the user has asked to end the machine.
type Work = Box<dyn FnOnce() -> io::Result<bool> + Send>;

/// Starts a thread that works until the process ends or the host fails.
fn spawn(
    name: &str,
    shared: &Arc<Shared>,
    confinement: &Confinement,
    work: Work,
) -> Result<(), Error> {
    let (shared, confinement) = (Arc::clone(shared), confinement.clone());
    let thread = std::thread::Builder::new().name(name.into());
    let what = name.to_owned();
    let spawned = thread.spawn(move || {
        let _guard = PanicGuard(&shared);
        match confinement.enter(Role::Console).and_then(|()| work()) {
            Ok(true) => shared.end(Ending::Escape),
            Ok(false) => {}
            Err(error) => shared.end(Ending::Host(format!("{what}: {error}"))),
        }
    });
    let started = spawned.map_err(Error::host(format!("starting a thread for {name}")));
    started.map(drop)
}
