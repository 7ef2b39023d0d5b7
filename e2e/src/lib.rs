//! The testbed: a real Kubernetes API, an ACME certificate authority and DNS servers (tier `api`), and a node with an
//! ingress controller besides (tier `cluster`), in a network namespace of their own.
//!
//! # Layout
//!
//! - [`catalogue`], [`cache`], [`go`], [`wheel`], [`packages`]: the programs a testbed is made of, and how they come here
//! - [`network`], [`process`], [`wait`], [`port`]: the namespace, the processes in it, and waiting with deadlines
//! - [`authority`], [`kubernetes`], [`dns`], [`pebble`]: the parts of tier `api`
//! - [`fault_proxy`]: a bad line between the controller and the CA
//! - [`fixture`]: a cluster as cert-manager leaves it, and whether it would find one the same
//! - [`moto`]: AWS, with its Route 53 zone copied into the DNS servers
//! - [`definition`]: kinds of the Gateway API, where no Gateway's controller brings them
//! - [`powerdns`], [`webhook_solver`]: counterparts that single tests start
//! - [`stand_in`]: stand-ins for the HTTP APIs of DNS providers
//! - [`nodeless`], [`random_kills`]: HTTP-01 in tier `api`, and many issuances with kills in between
//! - [`node`], [`ingress`], [`image`], [`cgroups`]: what tier `cluster` adds; [`check`]: whether it can run here
//! - [`state`], [`lifecycle`]: what is written down about a testbed; starting, entering and ending one
//! - [`bench`], [`demo`], [`kubectl`], [`relay`]: `make bench` and `make demo`, and the way into its cluster from outside
//! - [`testbed`], [`audit`]: what tests use inside a testbed
//! - [`install`], [`helm`], [`release`], [`controller`], [`replica`], [`scene`]: the controller under test, or several of them, and one test's place in the cluster

pub mod audit;
pub mod authority;
pub mod bench;
pub mod cache;
pub mod catalogue;
pub mod cgroups;
pub mod check;
pub mod controller;
pub mod definition;
pub mod demo;
pub mod dns;
pub mod fault_proxy;
pub mod fixture;
pub mod go;
pub mod helm;
pub mod image;
pub mod ingress;
pub mod install;
pub mod kubectl;
pub mod kubernetes;
pub mod launcher;
pub mod lifecycle;
pub mod moto;
pub mod network;
pub mod node;
pub mod nodeless;
pub mod packages;
pub mod pebble;
pub mod port;
pub mod powerdns;
pub mod process;
pub mod random_kills;
pub mod relay;
pub mod release;
pub mod replica;
pub mod scene;
pub mod stand_in;
pub mod state;
pub mod testbed;
pub mod wait;
pub mod webhook_solver;
pub mod wheel;

pub use controller::Controller;
pub use process::Process;
pub use scene::Scene;
pub use state::{State, Tier};
pub use testbed::Testbed;
