//! rollgate releases a service that runs on plain servers behind dynamic-upstream gateways, without dropping
//! a request.
//!
//! In reading order:
//!
//! * [`playbook`]: reads the file and reports every problem of it at once ([`diagnostic`] renders them);
//! * [`spec`]: the playbook with every name filled in, node by node; [`artifact`]: checks the artifact;
//! * [`release`]: the events of a release, and the state that they amount to; [`journal`]: its events on disk and in
//!   Consul;
//! * [`survey`]: inspects everything before anything is changed; [`plan`]: what would happen, why not, and how nodes
//!   are restored;
//! * [`engine`]: runs a release, event by event; [`suggestions`]: which commands to type after its end;
//! * [`gateway`], [`registry`], [`health`], [`requests`], [`node`]: the gateways' views, the nodes' registry entries, the
//!   new process, the requests in flight, and the operations on a node;
//! * [`mark`]: how a node is marked in the registry;
//! * [`lock`]: allows one release at a time; [`holds`]: which nodes stay out of rotation; [`consul`]: a thin client;
//!   [`world`]: the only port to the outside;
//! * [`ops`]: what each command does; [`report`]: the output for people and programs; [`cli`]: the command line;
//! * [`foreign`]: values from other programs, which are checked before they are filled in; [`json`]: their JSON, read
//!   in bounded memory;
//! * [`address`], [`secret`], [`file`], [`pattern`], [`period`], [`shell`], [`url`], [`table`], [`template`], [`text`]:
//!   addresses, values that are never shown, private files, regular expressions, durations, quoting, parts of URLs,
//!   tables, templates, wording.

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
pub mod holds;
pub mod journal;
pub mod json;
pub mod lock;
pub mod mark;

pub mod node;
pub mod ops;
pub mod pattern;
pub mod period;
pub mod plan;
pub mod playbook;
pub mod registry;
pub mod release;
pub mod report;
pub mod requests;
pub mod secret;
pub mod shell;
pub mod spec;
pub mod suggestions;
pub mod survey;
pub mod table;
pub mod template;
pub mod text;
pub mod url;
pub mod world;
