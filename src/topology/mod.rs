//! Servers, their roles, health and lag; which of them may serve what.
//!
//! Owns: probes (mysql_async), the state of each server, balancing. Does not know: clients, sessions, statements.
//! Invariant: sessions read one immutable `Snapshot` by one atomic load; only the monitor makes a new one.
