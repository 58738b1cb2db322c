//! rollgate releases a service that runs on plain servers behind dynamic-upstream gateways, without dropping a
//! request.
//!
//! In reading order:
//!
//! * [`playbook`]: the file, every problem of it at once ([`diagnostic`] shows them);
//! * [`spec`]: the playbook with every name filled in, node by node; [`artifact`] is what it brings;
//! * [`release`]: what can happen in a release, and the state that this amounts to; [`journal`]: its events on disk and in
//!   Consul;
//! * [`survey`]: one look at everything before anything is changed; [`plan`]: what would happen, why not, and what brings
//!   nodes back;
//! * [`engine`]: how a release comes about, event by event; [`next`]: what to type when it has ended;
//! * [`gateway`], [`registry`], [`health`], [`node`]: the gateways' views, the nodes' keys, the new process, and
//!   what a node is asked;
//! * [`mark`]: how a node is marked in the registry;
//! * [`lock`]: one release at a time; [`consul`]: a thin client; [`world`]: the one port to the outside;
//! * [`ops`]: what each command does; [`report`]: what people and programs see; [`cli`]: the command line;
//! * [`foreign`]: values from others, which are checked before they are filled in; [`json`]: their JSON, read in
//!   bounded memory;
//! * [`address`], [`secret`], [`file`], [`pattern`], [`period`], [`shell`], [`url`], [`table`], [`template`], [`text`]:
//!   addresses, values that are never shown, private files, regular expressions, durations, quoting, parts of URLs,
//!   tables, names to fill in, wording.

pub mod address;
pub mod artifact;
pub mod cli;
pub mod consul;
pub mod diagnostic;
pub mod engine;
pub mod file;
pub mod foreign;
pub mod gateway;
pub mod health;
pub mod journal;
pub mod json;
pub mod lock;
pub mod mark;
pub mod next;
pub mod node;
pub mod ops;
pub mod pattern;
pub mod period;
pub mod plan;
pub mod playbook;
pub mod registry;
pub mod release;
pub mod report;
pub mod secret;
pub mod shell;
pub mod spec;
pub mod survey;
pub mod table;
pub mod template;
pub mod text;
pub mod url;
pub mod world;
