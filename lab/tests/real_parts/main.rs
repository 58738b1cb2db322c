//! Tests of the lab itself, on real parts: its faults, lags and instruments must have an effect.

// Elections.
mod consul;
// The lag of workers, and the gateway's own check.
mod gateway;
// The load generator and the auditor, with and without a fault to detect.
mod instruments;
// SSH, users, rights, disks, reboots, and the end of all processes.
mod node;
// The demo service's stops and faults.
mod service;
mod support;
// Wires that can be cut, and leftover processes of commands.
mod wires;
