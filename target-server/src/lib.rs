//! A WebSocket game server under a load of known shape, and the client that puts it under that load.
//!
//! The server is what `tracer` is tried on: a Rust twin of a Node.js server from a lesson on performance, with the same
//! protocol, rules, pace and above all the same habits of allocating. It holds no code for profiling: default allocator,
//! default release profile.
//!
//! A connection waits until a second one comes ([`matchmaking`]); the two play a game ([`game`]) that ticks 60 times a
//! second ([`play`], [`ticker`]) and ends when a bullet hits a player or a player goes.

pub mod cli;
pub mod connection;
pub mod file_limit;
pub mod game;

pub mod load;
pub mod logger;
pub mod matchmaking;
pub mod messages;
pub mod play;
pub mod server;
pub mod statistics;
pub mod ticker;
pub mod timer;
