//! The integration tests, one binary. Each module says what belongs there.

#[path = "integration/acceptance.rs"]
mod acceptance;
#[path = "integration/blind_spots.rs"]
mod blind_spots;
#[path = "integration/checks.rs"]
mod checks;
#[path = "integration/cli.rs"]
mod cli;
#[path = "integration/conform.rs"]
mod conform;
#[path = "integration/etcd.rs"]
mod etcd;
#[path = "integration/http.rs"]
mod http;
#[path = "integration/load.rs"]
mod load;
#[path = "integration/recipes.rs"]
mod recipes;
#[path = "integration/serve.rs"]
mod serve;
#[path = "integration/serve_flags.rs"]
mod serve_flags;
#[path = "integration/storage.rs"]
mod storage;
#[path = "integration/tidy.rs"]
mod tidy;
