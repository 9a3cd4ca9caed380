//! One door for commands.
fn main() {}
