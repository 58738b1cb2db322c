//! The gate over a scripted world.
