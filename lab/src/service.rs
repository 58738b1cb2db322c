//! The demo service: a small HTTP server that stops gracefully, sends its version in a header, and can be started with
//! a fault.

mod options;
pub(crate) mod record;
mod routes;
mod state;

use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use options::{FaultName, ServiceOptions};
use record::{Event, Recorder};
use state::State;

/// How long the server waits for the next request of an idle connection, or the rest of one.
const IDLE: Duration = Duration::from_secs(300);

/// Runs the service until it is asked to stop, and returns its exit status.
///
/// # Errors
///
/// When it cannot listen, or cannot open its audit file.
pub fn run(options: ServiceOptions) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start the runtime")?;
    runtime.block_on(async {
        match options.fault {
            FaultName::CrashOnStart => Ok(crash_on_start()),
            FaultName::KeepsPort => keep_port(&options).await,
            _ => serve(options).await,
        }
    })
}

#[expect(clippy::print_stderr, reason = "stderr is the service's log")]
fn crash_on_start() -> ExitCode {
    eprintln!("FATAL cannot read /etc/app/app.conf: missing key `database.url`");
    ExitCode::FAILURE
}

/// Starts another process that serves, and that continues when this one stops.
async fn keep_port(options: &ServiceOptions) -> Result<ExitCode> {
    let mut term = signal(SignalKind::terminate())?;
    let recorder = Recorder::open(options.audit.as_deref(), &options.version)?;
    let own = std::env::current_exe().context("could not tell the service's own path")?;
    Command::new("setsid")
        .arg(own)
        .args(["service", "--fault", "ignore-term", "--version", &options.version])
        .args(["--listen", &options.listen.to_string()])
        .args(["--start-delay", &options.start_delay.to_string()])
        .spawn()
        .context("could not start the serving process")?;
    recorder.note(Event::Started, 0, None)?;
    term.recv().await;
    recorder.note(Event::Term, 0, None)?;
    recorder.note(Event::Exited, 0, None)?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(options: ServiceOptions) -> Result<ExitCode> {
    // From here on a SIGTERM never kills it, also while the start is delayed.
    let mut term = signal(SignalKind::terminate())?;
    let recorder = Recorder::open(options.audit.as_deref(), &options.version)?;
    let state = Arc::new(State::new(options, recorder));
    let options = &state.options;
    tokio::time::sleep(Duration::from_millis(options.start_delay)).await;
    let listener = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("could not listen on {}", options.listen))?;
    state.note(Event::Started);
    log(&format!("INFO version {} listens on {}", options.version, options.listen));
    let graceful = GracefulShutdown::new();
    let stopped = tokio::select! {
        biased;
        () = until_stopped(&mut term, options.fault) => true,
        () = until_crash(options) => false,
        () = complain(options.fault) => false,
        () = accept(&listener, &state, &graceful) => false,
    };
    if !stopped {
        state.note(Event::Cut);
        state.note(Event::Exited);
        return Ok(ExitCode::FAILURE);
    }
    state.stop();
    log(&format!("INFO stopping with {} in flight", state.in_flight()));
    drop(listener);
    let code = tokio::select! {
        biased;
        () = finish(graceful, options.stop_delay) => ExitCode::SUCCESS,
        _ = term.recv() => {
            state.note(Event::Cut);
            ExitCode::FAILURE
        }
    };
    state.note(Event::Exited);
    Ok(code)
}

/// Returns at the SIGTERM that ends the service.
async fn until_stopped(term: &mut Signal, fault: FaultName) {
    loop {
        term.recv().await;
        if fault != FaultName::IgnoreTerm {
            return;
        }
        log("WARN SIGTERM ignored");
    }
}

/// Returns at the time of the crash, if there is one.
async fn until_crash(options: &ServiceOptions) {
    if options.fault == FaultName::ReadyThenCrash {
        tokio::time::sleep(Duration::from_millis(options.crash_after)).await;
        log("FATAL out of memory in worker pool");
    } else {
        std::future::pending::<()>().await;
    }
}

/// Logs the missing dependency of a service that is never ready; does not return.
async fn complain(fault: FaultName) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        if fault == FaultName::NeverReady {
            log("ERROR database not reachable: connect timeout 10.0.9.5:5432");
        }
    }
}

/// Serves every connection; does not return.
async fn accept(listener: &TcpListener, state: &Arc<State>, graceful: &GracefulShutdown) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                log(&format!("ERROR could not accept a connection: {error}"));
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        // Small replies must leave at once; a socket that rejects the option still works.
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(state);
        let service = service_fn(move |request| routes::answer(Arc::clone(&shared), request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .serve_connection(TokioIo::new(stream), service);
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that disconnects is not an error of the service.
            let _ = watched.await;
        });
    }
}

/// Waits for the requests in flight, closes idle connections, and waits for the stop delay.
async fn finish(graceful: GracefulShutdown, stop_delay: u64) {
    graceful.shutdown().await;
    tokio::time::sleep(Duration::from_millis(stop_delay)).await;
}

#[expect(clippy::print_stderr, reason = "stderr is the service's log")]
fn log(line: &str) {
    eprintln!("{line}");
}
