//! A small world to measure: regions and hosts in network namespaces, a WAN between them whose latency, jitter and loss
//! are known and changeable, and the real programs that xprober works with.
//!
//! ```text
//!  outside (the user's shell)          inside: own user, pid, mount and network namespaces, all gone with process 1
//!  --------------------------          -----------------------------------------------------------------------------
//!  enter::enter ---------------------> hub namespace (process 1 lives here): planner, TSDB, Alertmanager, servers::sink
//!     |  SIGINT/SIGTERM, exit status      | eth0                      (plain children: process::Process)
//!     |                                   v
//!  forward::Outside                    [wan::task thread, own namespace: packet sockets on the veths' far ends]
//!   127.0.0.1:N <- unix socket ->         |  Matrix (a watch): region pair -> wan::Path {latency, jitter, loss, up, ..}
//!   forward::Inside                       v
//!                                      one namespace per host: eth0 10.R.0.H, metadata at 169.254.169.254,
//!                                      DNS at 127.0.0.53, agents, HTTP(S) targets
//! ```
//!
//! ```no_run
//! use std::time::Duration;
//! use xprober_lab::{enter, topology::Topology, world::Lab};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let inside = match enter::enter(&["prometheus"])? {
//!         enter::Place::Inside(inside) => inside,
//!         enter::Place::Finished(finished) => std::process::exit(finished.code),
//!     };
//!     tokio::runtime::Runtime::new()?.block_on(async {
//!         let lab = Lab::start(&inside, Topology::demo(), 1).await?;
//!         lab.wan().change_both("region-a", "region-b", |path| path.latency = Duration::from_millis(30))?;
//!         lab.stop().await;
//!         Ok(())
//!     })
//! }
//! ```

pub mod enter;

pub mod forward;

pub mod topology;

pub mod namespace;

pub mod wan;

pub mod capture;

pub mod servers;

pub mod world;

pub mod process;

pub mod promql;

pub mod ledger;

pub mod told;

pub mod fetch;

pub mod remote_write;

pub mod judge;

pub mod stack;

pub mod demo;

pub mod bench;

pub mod bench_push;

pub mod accuracy;

pub mod chaos;

pub mod mutation;

pub mod echo;

pub mod testing;

pub mod document;

pub mod error;
