//! Golden cases of wrong files, the files that the repository ships, and hostile input.

mod cases;
mod compose;
mod hostile;
mod shipped;
