//! Scenarios against real servers; started by `./integration/test`.

// A scenario and its helpers fail by panicking.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::unreachable)]

#[macro_use]
mod harness;

mod accounts;
mod attributes;
mod bad_input;
mod balance;
mod before;
mod browsing;
mod certificates;
mod commands;
mod compression;
mod consistency;
mod console;
mod differential;
mod disk;
mod doors;
mod drain;
mod ends;
mod expired;
mod expressions;
mod extensions;
mod failover;
mod failure;
mod globals;
mod groups;
mod idle;
mod insert_ids;
mod interrupted;
mod kill;
mod lag;
mod leak;
mod levels;
mod locks;
mod logins;
mod measures;
mod merging;
mod operators;
mod pins;
mod processes;
mod reads;
mod reload;
mod replay;
mod round_trips;
mod routines;
mod routing;
mod semisync;
mod sequences;
mod sharding;
mod shards;
mod sql_digest;
mod state;
mod succession;
mod survey;
mod texts;
mod topology;
mod tracking;
mod transactions;
mod uninvited;
mod unreported;
mod variables;
