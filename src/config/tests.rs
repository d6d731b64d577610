//! Golden cases of wrong files, and the files that the repository ships.

mod cases;
mod shipped;
