//! The integration tests, one binary. Each module says what belongs there.

#[path = "integration/cli.rs"]
mod cli;
#[path = "integration/storage.rs"]
mod storage;
#[path = "integration/tidy.rs"]
mod tidy;
