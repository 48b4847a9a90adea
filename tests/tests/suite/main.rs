//! The end-to-end suite: the daemon polls real Redis and Valkey servers.

#![expect(clippy::print_stdout, reason = "tests print their measurements for --nocapture")]

mod blindness;
mod cluster;
mod compat;
mod counters;
mod diagnosis;
mod disputes;
mod dns;
mod down;
mod down_reasons;
mod durability;
mod endpoints;
mod exposition;
mod files;
mod fleets;
mod full_resyncs;
mod hanging_nodes;
mod hanging_writes;
mod hostile_peers;
mod identity;
mod lifecycle;
mod limits;
mod lost_writes;
mod misrouted_clients;
mod monitor;
mod other_systems;
mod pages;
mod presets;
mod primary;
mod public_rules;
mod readiness;
mod recording;
mod redis_exporter_mode;
mod reload;
mod replicas;
mod roles;
mod routine;
mod sentinel;
mod split_brain;
mod tls;
mod tokens;
mod unreachable;
mod versions;
mod web_limits;
mod web_security;
