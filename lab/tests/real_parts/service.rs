//! The demo service's stops and faults.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rollgate_lab::{Ending, Fault, Lab, LabConfig, Release, get, until};

use crate::support::{LIMIT, ctl, stderr, stdout};

/// A lab of one node, without a gateway, whose service has this fault.
fn lab_with(fault: Fault) -> Lab {
    let mut config = LabConfig::new(1, Vec::new());
    config.service = Release::new("1").with_fault(fault);
    Lab::start(config).unwrap()
}

/// Replaces the current version, as a release does, without starting it.
fn install(lab: &Lab, archive: &Path) {
    let release = lab.nodes[0].path("/srv/app/releases/next").unwrap();
    fs::create_dir(&release).unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(archive).arg("-C").arg(&release);
    assert!(tar.status().unwrap().success());
    lab.nodes[0].exec("ln -sfn /srv/app/releases/next /srv/app/current").unwrap();
}

fn wait_for_in_flight(lab: &Lab, count: u32) {
    let url = lab.nodes[0].service_url("/metrics");
    let wanted = format!("in_flight {count}\n");
    until(&wanted, LIMIT, || Ok((get(&url)?.body == wanted).then_some(()))).unwrap();
}

#[test]
fn stopping_service_finishes_requests_in_flight() {
    let lab = lab_with(Fault::None);
    let url = lab.nodes[0].service_url("/work?ms=800");
    let request = thread::spawn(move || get(&url));
    wait_for_in_flight(&lab, 1);
    let begun = Instant::now();
    assert!(ctl(&lab, 0, "stop").status.success());
    assert!(begun.elapsed() > Duration::from_millis(300), "it did not wait for the request");
    let reply = request.join().unwrap().unwrap();
    assert_eq!((reply.status, reply.header("X-App-Version")), (200, Some("1")));
    let audit = lab.audit().unwrap();
    assert!(audit.is_clean(), "{audit}");
    assert_eq!(audit.stops[0].in_flight_at_term, 1);
}

#[test]
fn second_sigterm_cuts_requests_and_is_audited() {
    let lab = lab_with(Fault::None);
    let url = lab.nodes[0].service_url("/work?ms=8000");
    let request = thread::spawn(move || get(&url));
    wait_for_in_flight(&lab, 1);
    let pid = "$(cat /srv/app/pid)";
    lab.nodes[0].exec(&format!("kill -TERM {pid}")).unwrap();
    until("the first SIGTERM", LIMIT, || Ok((lab.audit()?.stops.len() == 1).then_some(())))
        .unwrap();
    lab.nodes[0].exec(&format!("kill -TERM {pid}")).unwrap();
    assert!(request.join().unwrap().is_err());
    let audit = lab.audit().unwrap();
    assert_eq!((audit.cut(), audit.is_clean()), (1, false), "{audit}");
}

#[test]
fn a_killed_service_is_audited_once_another_has_started() {
    let lab = lab_with(Fault::None);
    lab.nodes[0].exec("kill -KILL $(cat /srv/app/pid)").unwrap();
    until("its end", LIMIT, || Ok((!ctl(&lab, 0, "status").status.success()).then_some(())))
        .unwrap();
    assert!(ctl(&lab, 0, "start").status.success());
    until("another start", LIMIT, || Ok(lab.nodes[0].version())).unwrap();
    let audit = lab.audit().unwrap();
    assert_eq!((audit.stops[0].ending, audit.is_clean()), (Ending::Vanished, false));
}

#[test]
fn a_service_that_never_gets_ready_says_why() {
    let lab = lab_with(Fault::NeverReady);
    let reply = get(&lab.nodes[0].service_url("/ping")).unwrap();
    assert_eq!(reply.status, 503);
    assert_eq!(reply.body, r#"{"status":"DOWN","db":"connect timeout 10.0.9.5:5432"}"#);
    let found = until("two complaints", LIMIT, || {
        let log = lab.nodes[0].service_log()?;
        Ok((log.matches("ERROR database not reachable").count() >= 2).then_some(()))
    });
    found.unwrap();
}

#[test]
fn a_service_that_crashes_on_start_leaves_a_reason_and_no_process() {
    let lab = lab_with(Fault::CrashOnStart);
    until("its end", LIMIT, || Ok((stdout(&ctl(&lab, 0, "status")) == "stopped").then_some(())))
        .unwrap();
    assert!(lab.nodes[0].service_log().unwrap().contains("FATAL cannot read"));
    assert_eq!(lab.nodes[0].version(), None);
}

#[test]
fn a_service_that_crashes_later_is_healthy_first() {
    let lab = lab_with(Fault::None);
    assert!(ctl(&lab, 0, "stop").status.success());
    let fault = Fault::ReadyThenCrash(Duration::from_millis(700));
    install(&lab, &lab.artifact("2", fault).unwrap());
    assert!(ctl(&lab, 0, "start").status.success());
    let version = until("it to be healthy", LIMIT, || Ok(lab.nodes[0].version())).unwrap();
    assert_eq!(version, "2");
    let has_ended = || (!ctl(&lab, 0, "status").status.success()).then_some(());
    until("its end", LIMIT, || Ok(has_ended())).unwrap();
    assert_eq!(lab.nodes[0].version(), None);
}

#[test]
fn a_service_that_ignores_sigterm_makes_stop_fail() {
    let lab = lab_with(Fault::IgnoreTerm);
    let stop = ctl(&lab, 0, "stop 1");
    assert_eq!(stop.status.code(), Some(1));
    assert!(stderr(&stop).contains("still running 1 s after SIGTERM"), "{stop:?}");
    assert_eq!(lab.nodes[0].version().as_deref(), Some("1"));
}

#[test]
fn old_process_on_the_port_answers_instead_of_the_new_one() {
    let lab = lab_with(Fault::KeepsPort);
    assert!(ctl(&lab, 0, "stop").status.success());
    assert_eq!(stdout(&ctl(&lab, 0, "status")), "stopped");
    install(&lab, &lab.artifact("2", Fault::None).unwrap());
    assert!(ctl(&lab, 0, "start").status.success());
    until("the new process to fail", LIMIT, || {
        Ok(lab.nodes[0].service_log()?.contains("could not listen").then_some(()))
    })
    .unwrap();
    assert_eq!(lab.nodes[0].version().as_deref(), Some("1"));
}

#[test]
fn slow_service_refuses_connections_until_it_listens() {
    let mut config = LabConfig::new(1, Vec::new());
    config.service.start_delay = Duration::from_secs(3);
    let lab = Lab::start(config).unwrap();
    assert!(ctl(&lab, 0, "stop").status.success());
    let begun = Instant::now();
    assert!(ctl(&lab, 0, "start").status.success());
    assert_eq!(lab.nodes[0].version(), None);
    until("it to listen", LIMIT, || Ok(lab.nodes[0].version())).unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(3));
}

#[test]
fn archives_are_reproducible() {
    let lab = lab_with(Fault::None);
    let first = fs::read(lab.artifact("7", Fault::None).unwrap()).unwrap();
    let second = fs::read(lab.artifact("7", Fault::None).unwrap()).unwrap();
    let other = fs::read(lab.artifact("7", Fault::NeverReady).unwrap()).unwrap();
    assert!(first == second && first != other);
}
