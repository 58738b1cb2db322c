//! Handles Ctrl-C and SIGTERM, so that the lab ends in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Whether the process was asked to stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt {
    interrupted: Arc<AtomicBool>,
    terminated: Arc<AtomicBool>,
}

impl Interrupt {
    /// Takes over both signals for the rest of the process.
    pub(crate) fn watch() -> Result<Self> {
        let noticed = Self::default();
        let shared = noticed.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("could not start the signal runtime")?;
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        thread::Builder::new()
            .name("lab-signals".into())
            .spawn(move || {
                runtime.block_on(async {
                    loop {
                        tokio::select! {
                            _ = interrupt.recv() => shared.interrupted.store(true, SeqCst),
                            _ = terminate.recv() => shared.terminated.store(true, SeqCst),
                        }
                    }
                });
            })
            .context("could not start the signal thread")?;
        Ok(noticed)
    }

    /// Returns whether a SIGTERM arrived.
    pub(crate) fn terminated(&self) -> bool {
        self.terminated.load(SeqCst)
    }

    /// Returns whether either signal arrived.
    pub(crate) fn any(&self) -> bool {
        self.interrupted.load(SeqCst) || self.terminated()
    }
}
