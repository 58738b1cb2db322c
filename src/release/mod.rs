//! A release: its events, and the state that they amount to. Pure: no clock, no I/O.
//!
//! * [`command`]: the commands that change something; [`event`]: what can happen; [`line`]: an event as a line of JSON;
//!   [`schema`]: the JSON Schema of lines; [`redacted`]: events contain no secret;
//! * [`inputs`], [`planned`], [`restore`]: the inputs of a release, the plan for each node, and what nodes ran before;
//!   [`hold`]: why a node stays out of rotation;
//! * [`state`], [`node`]: the fold of the events, and the safety rules; [`step`]: the steps of a node;
//! * [`runs`], [`summary`]: how long it took, and all of it in one line; [`timeline`]: what each node did when;
//!   [`cost`]: what it cost; [`pace`]: how long it still takes.

mod command;
mod cost;
mod event;
mod hold;
mod inputs;
mod line;
mod node;
mod outcome;
mod pace;
mod planned;
mod redacted;
mod restore;
mod runs;
mod schema;
mod state;
mod step;
mod summary;
mod timeline;

pub use command::CommandKind;
pub use cost::Cost;
pub use event::{
    Drained, EntryBefore, Event, EventKind, Failure, PlannedBy, Pool, ResumePoint, Resumed,
    STILL_RUNNING, Started,
};
pub use hold::{HeldNode, Hold};
pub use inputs::{Digest, Inputs};
pub use line::{Line, LineData, Lines, MOST_NODES};
pub use node::{Direction, Leaving, NodeState, Phase, RotationState, Stopped};
pub use outcome::{Finished, Outcome};
pub use planned::{Planned, PlannedAction, PlannedNodes};
pub use restore::RestorePoint;
pub use runs::Runs;
pub use schema::LineSchema;
pub use state::{Change, Release};
pub use step::Step;
pub use summary::{NodeCounts, RunState, Summary, at_work};
pub use timeline::{Activity, Part, Parts, Segment, SegmentEnd, Timeline};
