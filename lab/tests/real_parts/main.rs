//! Tests of the lab itself, on real parts: its faults, lags and instruments must be able to bite.

// Elections.
mod consul;
// What workers see, and when; the gateway's own check.
mod gateway;
// The load generator and the auditor, with and without a fault to find.
mod instruments;
// SSH, users, rights, disks, reboots, and that nothing is left behind.
mod node;
// The demo service's ways to stop and to fail.
mod service;
mod support;
// Wires that can be cut, and what commands leave behind.
mod wires;
