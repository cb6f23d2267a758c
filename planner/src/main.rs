//! Runs the planner.

fn main() {}
