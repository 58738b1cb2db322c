//! Plans over made-up fleets.
