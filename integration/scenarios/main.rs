//! Scenarios against real servers; started by `./integration/test`.

mod topology;
