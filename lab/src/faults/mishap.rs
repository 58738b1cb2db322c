//! The faults around a release: how the lab causes them, and how it ends them.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::step::Step;
use crate::lab::{Lab, LabConfig};
use crate::node::NodeConfig;

/// The index of the node, and of the gateway, that is hit.
const NODE: usize = 0;
const GATEWAY: usize = 1;

/// How long a temporary fault lasts.
const MOMENT: Duration = Duration::from_secs(3);

/// How long rollgate is frozen: longer than the TTL of a lock that is not renewed.
const SLEEP: Duration = Duration::from_secs(20);

/// The disk size of a node with a disk that fills up, in MiB.
const DISK: u32 = 64;

/// A fault during a release. A bad version is a [`Fault`](crate::Fault).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// The leader of three Consul servers is killed.
    LeaderKilled,
    /// All Consul servers are killed.
    ConsulDown(Lasts),
    /// A gateway is killed.
    GatewayDown(Lasts),
    /// A gateway is reloaded.
    GatewayReloaded,
    /// The node's sshd is killed with its sessions.
    SshdKilled(Lasts),
    /// The node's sshd and its sessions hang.
    SshdHung(Lasts),
    /// The network between rollgate and the node is cut.
    NodeCut(Lasts),
    /// The network between rollgate and Consul is cut.
    ConsulCut(Lasts),
    /// The network between rollgate and a gateway is cut.
    GatewayCut(Lasts),
    /// The node loses all its processes and starts again.
    NodeRebooted,
    /// The node loses all its processes and stays off.
    NodeOff,
    /// The node's disk fills up.
    DiskFull,
    /// rollgate is killed.
    Killed(Place, Then),
    /// rollgate is frozen for longer than the TTL of its lock, and continues.
    Frozen,
    /// Another writer marks the node up.
    MarkedUp,
}

/// How long a mishap lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// Some seconds.
    Moment,
    /// Until the release has ended.
    Release,
}

/// The machine on which a killed release is resumed or rolled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The machine it ran on.
    Here,
    /// Another one, which has the playbook and the artifact but not the journal.
    Elsewhere,
}

/// The command after the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// `resume`.
    Resume,
    /// `rollback`.
    Rollback,
}

impl Mishap {
    /// All of them.
    pub const ALL: [Self; 25] = [
        Self::Killed(Place::Here, Then::Resume),
        Self::Killed(Place::Elsewhere, Then::Resume),
        Self::Killed(Place::Here, Then::Rollback),
        Self::Killed(Place::Elsewhere, Then::Rollback),
        Self::Frozen,
        Self::MarkedUp,
        Self::LeaderKilled,
        Self::ConsulDown(Lasts::Moment),
        Self::ConsulDown(Lasts::Release),
        Self::ConsulCut(Lasts::Moment),
        Self::ConsulCut(Lasts::Release),
        Self::GatewayReloaded,
        Self::GatewayDown(Lasts::Moment),
        Self::GatewayDown(Lasts::Release),
        Self::GatewayCut(Lasts::Moment),
        Self::GatewayCut(Lasts::Release),
        Self::SshdKilled(Lasts::Moment),
        Self::SshdKilled(Lasts::Release),
        Self::SshdHung(Lasts::Moment),
        Self::SshdHung(Lasts::Release),
        Self::NodeCut(Lasts::Moment),
        Self::NodeCut(Lasts::Release),
        Self::NodeRebooted,
        Self::NodeOff,
        Self::DiskFull,
    ];

    /// Returns its name on the command line and in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LeaderKilled => "leader-killed",
            Self::ConsulDown(Lasts::Moment) => "consul-down-3s",
            Self::ConsulDown(Lasts::Release) => "consul-down",
            Self::GatewayDown(Lasts::Moment) => "gateway-down-3s",
            Self::GatewayDown(Lasts::Release) => "gateway-down",
            Self::GatewayReloaded => "gateway-reloaded",
            Self::SshdKilled(Lasts::Moment) => "sshd-killed-3s",
            Self::SshdKilled(Lasts::Release) => "sshd-killed",
            Self::SshdHung(Lasts::Moment) => "sshd-hung-3s",
            Self::SshdHung(Lasts::Release) => "sshd-hung",
            Self::NodeCut(Lasts::Moment) => "node-cut-3s",
            Self::NodeCut(Lasts::Release) => "node-cut",
            Self::ConsulCut(Lasts::Moment) => "consul-cut-3s",
            Self::ConsulCut(Lasts::Release) => "consul-cut",
            Self::GatewayCut(Lasts::Moment) => "gateway-cut-3s",
            Self::GatewayCut(Lasts::Release) => "gateway-cut",
            Self::NodeRebooted => "node-rebooted",
            Self::NodeOff => "node-off",
            Self::DiskFull => "disk-full",
            Self::Killed(Place::Here, Then::Resume) => "killed",
            Self::Killed(Place::Elsewhere, Then::Resume) => "killed-elsewhere",
            Self::Killed(Place::Here, Then::Rollback) => "killed-back",
            Self::Killed(Place::Elsewhere, Then::Rollback) => "killed-elsewhere-back",
            Self::Frozen => "frozen-20s",
            Self::MarkedUp => "marked-up",
        }
    }

    /// Returns its description for the table.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::LeaderKilled => "the leader of three Consul servers is killed",
            Self::ConsulDown(Lasts::Moment) => "Consul is killed and started again after 3 s",
            Self::ConsulDown(Lasts::Release) => "Consul is killed",
            Self::GatewayDown(Lasts::Moment) => "gw-2 is killed and started again after 3 s",
            Self::GatewayDown(Lasts::Release) => "gw-2 is killed",
            Self::GatewayReloaded => "gw-2 is reloaded",
            Self::SshdKilled(Lasts::Moment) => {
                "node-1's sshd and its sessions are killed, sshd is started again after 3 s"
            }
            Self::SshdKilled(Lasts::Release) => "node-1's sshd and its sessions are killed",
            Self::SshdHung(Lasts::Moment) => "node-1's sshd and its sessions hang for 3 s",
            Self::SshdHung(Lasts::Release) => "node-1's sshd and its sessions hang",
            Self::NodeCut(Lasts::Moment) => "no packet passes from and to node-1 for 3 s",
            Self::NodeCut(Lasts::Release) => "no packet passes from and to node-1",
            Self::ConsulCut(Lasts::Moment) => "no packet passes from and to Consul for 3 s",
            Self::ConsulCut(Lasts::Release) => "no packet passes from and to Consul",
            Self::GatewayCut(Lasts::Moment) => "no packet passes from and to gw-2 for 3 s",
            Self::GatewayCut(Lasts::Release) => "no packet passes from and to gw-2",
            Self::NodeRebooted => "node-1 loses all its processes and boots again",
            Self::NodeOff => "node-1 loses all its processes and stays off",
            Self::DiskFull => "node-1's disk fills up",
            Self::Killed(Place::Here, Then::Resume) => {
                "rollgate gets SIGKILL; the same machine resumes"
            }
            Self::Killed(Place::Elsewhere, Then::Resume) => {
                "rollgate gets SIGKILL; another machine breaks the lock and resumes"
            }
            Self::Killed(Place::Here, Then::Rollback) => {
                "rollgate gets SIGKILL; the same machine rolls back"
            }
            Self::Killed(Place::Elsewhere, Then::Rollback) => {
                "rollgate gets SIGKILL; another machine breaks the lock and rolls back"
            }
            Self::Frozen => "rollgate gets SIGSTOP, and SIGCONT after 20 s",
            Self::MarkedUp => "another client marks node-1 up in Consul",
        }
    }

    /// Adds to a lab what the fault requires.
    pub(super) fn prepare(self, config: &mut LabConfig) {
        match self {
            Self::LeaderKilled => config.consul_servers = 3,
            Self::NodeCut(_) | Self::ConsulCut(_) | Self::GatewayCut(_) => config.wired = true,
            Self::DiskFull => {
                config.nodes[NODE] = NodeConfig { disk_mib: Some(DISK), ..NodeConfig::default() };
            }
            _ => {}
        }
    }

    /// Causes the fault.
    pub(super) fn strike(self, lab: &mut Lab, rollgate: u32) -> Result<()> {
        match self {
            Self::LeaderKilled => lab.consul.kill_leader().map(drop),
            Self::ConsulDown(_) => {
                (0..lab.consul.ips().len()).for_each(|server| lab.consul.stop(server));
                Ok(())
            }
            Self::GatewayDown(_) => lab.gateways[GATEWAY].stop(),
            Self::GatewayReloaded => lab.gateways[GATEWAY].reload(),
            Self::SshdKilled(_) => lab.nodes[NODE].kill_sshd(),
            Self::SshdHung(_) => lab.nodes[NODE].hang_sshd(),
            Self::NodeCut(_) | Self::ConsulCut(_) | Self::GatewayCut(_) => lab.cut(&self.cut(lab)),
            Self::NodeRebooted => lab.nodes[NODE].reboot(),
            Self::NodeOff => {
                lab.nodes[NODE].power_off();
                Ok(())
            }
            Self::DiskFull => {
                let filled = lab.nodes[NODE].exec("cat /dev/zero >/srv/ballast")?;
                ensure!(!filled.status.success(), "the disk did not fill up");
                Ok(())
            }
            Self::Killed(..) => signal(rollgate, Signal::KILL),
            Self::Frozen => {
                signal(rollgate, Signal::STOP)?;
                thread::sleep(SLEEP);
                signal(rollgate, Signal::CONT)
            }
            Self::MarkedUp => lab.mark(NODE, false),
        }
    }

    /// Returns how long it lasts, if it ends before the release.
    pub(super) fn lasts(self) -> Option<Duration> {
        match self {
            Self::ConsulDown(Lasts::Moment)
            | Self::ConsulCut(Lasts::Moment)
            | Self::GatewayDown(Lasts::Moment)
            | Self::GatewayCut(Lasts::Moment)
            | Self::SshdKilled(Lasts::Moment)
            | Self::SshdHung(Lasts::Moment)
            | Self::NodeCut(Lasts::Moment) => Some(MOMENT),
            _ => None,
        }
    }

    /// Ends the fault.
    pub(super) fn heal(self, lab: &mut Lab) -> Result<()> {
        match self {
            Self::LeaderKilled | Self::ConsulDown(_) => {
                for server in 0..lab.consul.ips().len() {
                    if !lab.consul.is_running(server) {
                        lab.consul.start(server)?;
                    }
                }
                lab.consul.wait_for_leader()
            }
            Self::GatewayDown(_) => lab.gateways[GATEWAY].start(),
            Self::SshdKilled(_) => lab.nodes[NODE].start_sshd(),
            Self::SshdHung(_) => lab.nodes[NODE].thaw_sshd(),
            Self::NodeCut(_) | Self::ConsulCut(_) | Self::GatewayCut(_) => lab.mend(&self.cut(lab)),
            Self::NodeOff => {
                lab.nodes[NODE].boot()?;
                lab.nodes[NODE].wait_until_up()
            }
            Self::DiskFull => lab.nodes[NODE].exec("rm -f /srv/ballast").map(drop),
            Self::GatewayReloaded
            | Self::NodeRebooted
            | Self::Killed(..)
            | Self::Frozen
            | Self::MarkedUp => Ok(()),
        }
    }

    fn cut(self, lab: &Lab) -> Vec<Ipv4Addr> {
        match self {
            Self::NodeCut(_) => vec![lab.nodes[NODE].ip()],
            Self::GatewayCut(_) => vec![lab.gateways[GATEWAY].ip()],
            _ => lab.consul.ips(),
        }
    }

    /// Returns the address of the part that the fault itself takes from users, in this step.
    pub(super) fn victim(self, step: Step, lab: &Lab) -> Option<String> {
        match self {
            Self::GatewayDown(_) | Self::GatewayReloaded => {
                let url = lab.gateways[GATEWAY].url("");
                url.strip_prefix("http://").map(str::to_owned)
            }
            Self::NodeRebooted | Self::NodeOff if step.may_be_served() => {
                Some(lab.nodes[NODE].address().to_string())
            }
            // Marked up after its service has ended, or before the new one is ready.
            Self::MarkedUp if !step.may_be_served() => Some(lab.nodes[NODE].address().to_string()),
            _ => None,
        }
    }

    /// Returns whether it kills every process of the node.
    pub(super) fn kills_node(self) -> bool {
        matches!(self, Self::NodeRebooted | Self::NodeOff)
    }

    /// Returns the command after the fault.
    #[must_use]
    pub fn then(self) -> Then {
        match self {
            Self::Killed(_, then) => then,
            _ => Then::Resume,
        }
    }

    /// Returns whether a warning is required even if all ends well: rollgate reads the state once a second, and
    /// `health` takes less time here.
    pub(super) fn calls_for_a_warning(self, step: Step) -> bool {
        let long_out = [Step::ConfirmOut, Step::Drain, Step::Stop, Step::Activate, Step::Start];
        self == Self::MarkedUp && long_out.contains(&step)
    }

    /// Returns whether a release may end with this exit code.
    pub(super) fn allows(self, code: Option<i32>, step: Step) -> bool {
        let Some(code) = code else { return matches!(self, Self::Killed(..)) };
        match (self, code) {
            (Self::Killed(..), _) => false,
            // A lock that could not be renewed, or that has gone, is lost. When a server is dead, Consul removes its
            // node some seconds later, and the sessions that were made there.
            (_, 0)
            | (Self::Frozen | Self::LeaderKilled | Self::ConsulDown(_) | Self::ConsulCut(_), 4) => {
                true
            }
            // No node had left rotation.
            (_, 3) => step == Step::Stage,
            (Self::LeaderKilled | Self::GatewayReloaded | Self::Frozen, _) => false,
            (_, 20) => true,
            (_, 22) => self.lasts().is_none(),
            _ => false,
        }
    }
}

fn signal(process: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    kill_process(pid.context("rollgate has no process id")?, signal)
        .context("could not signal rollgate")
}
