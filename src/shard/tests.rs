//! What holds for all methods and types together.

mod fingerprints;
mod layouts;
mod properties;
