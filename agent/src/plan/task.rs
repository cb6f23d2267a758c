//! Holds the stream to the planner.
