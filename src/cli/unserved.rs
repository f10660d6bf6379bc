//! etcd's flags that `serve` does not have: each with what is so here instead.
//!
//! Promises: with [`super::serve`], they are all flags of etcd 3.4 to 3.7 and of its main branch. Of one that says what
//! is so here anyway (`--auto-tls=false`), nothing has to be refused.

use std::ffi::{OsStr, OsString};

use super::go::parse_switch;

/// What is so here; the value that says just that, where there is one; and the flags. A flag with `true` or `false` is
/// a switch.
type Row = (&'static str, Option<&'static str>, &'static [&'static str]);

const ROWS: &[Row] = &[
    ("the log is in the data dir", Some(""), &["wal-dir"]),
    ("flags are typed, or come from the environment", Some(""), &["config-file"]),
    (
        "what it says is lines of text, without levels and formats",
        None,
        &["logger", "log-level", "log-format", "log-package-levels", "log-output", "log-rotation-config-json"],
    ),
    ("what it says goes to standard error", Some("stderr"), &["log-outputs"]),
    ("what it says has no levels", Some("false"), &["debug"]),
    ("what it says goes to standard error", Some("false"), &["enable-log-rotation"]),
    (
        "nobody is warned of what takes long",
        None,
        &[
            "warning-apply-duration",
            "experimental-warning-apply-duration",
            "warning-unary-request-duration",
            "experimental-warning-unary-request-duration",
        ],
    ),
    (
        "the members are those of --initial-cluster",
        Some(""),
        &[
            "discovery",
            "discovery-cacert",
            "discovery-cert",
            "discovery-endpoints",
            "discovery-key",
            "discovery-password",
            "discovery-proxy",
            "discovery-srv",
            "discovery-srv-name",
            "discovery-token",
            "discovery-user",
        ],
    ),
    (
        "the members are those of --initial-cluster",
        None,
        &[
            "discovery-dial-timeout",
            "discovery-fallback",
            "discovery-keepalive-time",
            "discovery-keepalive-timeout",
            "discovery-request-timeout",
        ],
    ),
    ("the members are those of --initial-cluster", Some("true"), &["discovery-insecure-transport"]),
    ("the members are those of --initial-cluster", Some("false"), &["discovery-insecure-skip-tls-verify"]),
    ("there is no API of version 2", Some("false"), &["enable-v2"]),
    ("there is no API of version 2", Some(""), &["experimental-enable-v2v3"]),
    ("there is no store of version 2", None, &["v2-deprecation"]),
    ("there is no proxy", Some("off"), &["proxy"]),
    (
        "there is no proxy",
        None,
        &[
            "proxy-dial-timeout",
            "proxy-failure-wait",
            "proxy-read-timeout",
            "proxy-refresh-interval",
            "proxy-write-timeout",
        ],
    ),
    ("certificates are files", Some("false"), &["auto-tls", "peer-auto-tls"]),
    ("certificates are files", None, &["self-signed-cert-validity"]),
    (
        "whoever has a certificate that is signed is let in",
        Some(""),
        &[
            "client-cert-allowed-hostname",
            "client-crl-file",
            "peer-cert-allowed-cn",
            "peer-cert-allowed-hostname",
            "peer-crl-file",
        ],
    ),
    (
        "the names in a client's certificate are not looked at",
        Some("true"),
        &["peer-skip-client-san-verification", "experimental-peer-skip-client-san-verification"],
    ),
    (
        "a member has one certificate, whoever connects",
        Some(""),
        &["client-cert-file", "client-key-file", "peer-client-cert-file", "peer-client-key-file"],
    ),
    ("TLS is of version 1.2 or 1.3, with rustls's ciphers", Some("TLS1.2"), &["tls-min-version"]),
    ("TLS is of version 1.2 or 1.3, with rustls's ciphers", Some(""), &["cipher-suites", "tls-max-version"]),
    ("every host is let in, and browsers are told nothing of it", None, &["cors", "host-whitelist"]),
    (
        "connections have the system's options, and no pings",
        None,
        &[
            "grpc-keepalive-interval",
            "grpc-keepalive-min-time",
            "grpc-keepalive-timeout",
            "raft-read-timeout",
            "raft-write-timeout",
        ],
    ),
    ("connections have the system's options", Some("false"), &["socket-reuse-address", "socket-reuse-port"]),
    ("every member is a gateway, and asked over HTTP as well", Some("true"), &["enable-grpc-gateway"]),
    ("clients of all kinds are listened to at --listen-client-urls", Some(""), &["listen-client-http-urls"]),
    ("no times of gRPC calls are kept", Some("basic"), &["metrics"]),
    ("nothing is profiled", Some("false"), &["enable-pprof"]),
    ("nothing is traced", Some("false"), &["enable-distributed-tracing", "experimental-enable-distributed-tracing"]),
    (
        "nothing is traced",
        None,
        &[
            "distributed-tracing-address",
            "distributed-tracing-instance-id",
            "distributed-tracing-sampling-rate",
            "distributed-tracing-service-name",
            "experimental-distributed-tracing-address",
            "experimental-distributed-tracing-instance-id",
            "experimental-distributed-tracing-sampling-rate",
            "experimental-distributed-tracing-service-name",
        ],
    ),
    ("a new member waits for an election timeout first", Some("false"), &["initial-election-tick-advance"]),
    (
        "a transaction that writes reads from the buffer as others do",
        Some("true"),
        &["experimental-txn-mode-write-with-shared-buffer"],
    ),
    ("checkpoints of leases are kept", Some("true"), &["experimental-enable-lease-checkpoint-persist"]),
    ("a member serves while it defragments", Some("false"), &["experimental-stop-grpc-service-on-defrag"]),
    (
        "nothing is defragmented at the start",
        Some("0"),
        &["bootstrap-defrag-threshold-megabytes", "experimental-bootstrap-defrag-threshold-megabytes"],
    ),
    ("memory is not locked", Some("false"), &["memory-mlock", "experimental-memory-mlock"]),
    (
        "the database is in memory, and has a way of its own to its file",
        None,
        &["backend-bbolt-freelist-type", "experimental-backend-bbolt-freelist-type"],
    ),
];

fn row(flag: &str) -> Option<&'static Row> {
    ROWS.iter().find(|(_, _, flags)| flags.contains(&flag))
}

/// What is so here instead of that flag; nothing when it is none of these.
pub(super) fn reason(flag: &str) -> Option<&'static str> {
    row(flag).map(|(reason, ..)| *reason)
}

/// Whether the flag is one of these, and its name is enough.
pub(super) fn is_switch(flag: &str) -> bool {
    row(flag).is_some_and(|(_, holds, _)| holds.is_some_and(|holds| parse_switch(holds).is_ok() && holds.len() > 1))
}

/// Whether the flag, with that value or as a switch without one, says what is so here anyway.
pub(super) fn holds(flag: &str, value: Option<&OsStr>) -> bool {
    let Some((_, Some(holds), _)) = row(flag) else { return false };
    match value.map(OsStr::to_str) {
        None => *holds == "true",
        Some(Some(value)) if is_switch(flag) => parse_switch(value) == parse_switch(holds),
        Some(value) => value == Some(*holds),
    }
}

/// What is said of flags that are not served and yet in the environment, a line each: they come from a file or an image
/// that was made for etcd, and nothing is refused because of them.
pub(crate) fn ignored(environment: impl Fn(&str) -> Option<OsString>) -> Vec<String> {
    let flags = ROWS.iter().flat_map(|(reason, _, flags)| flags.iter().map(move |flag| (*flag, *reason)));
    let said = flags.filter_map(|(flag, reason)| {
        let name = format!("ETCD_{}", flag.to_ascii_uppercase().replace('-', "_"));
        let value = environment(&name).filter(|value| !value.is_empty())?;
        (!holds(flag, Some(&value))).then(|| format!("{name} is ignored: --{flag} is not served here: {reason}"))
    });
    said.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::go::is_called;

    #[test]
    fn no_flag_is_served_and_not_served() {
        let definition = crate::cli::definition();
        let serve = definition.find_subcommand("serve").expect("there is one");
        let served = |flag: &str| serve.get_arguments().any(|arg| is_called(arg, flag));
        let unserved: Vec<&str> = ROWS.iter().flat_map(|(.., flags)| flags.iter().copied()).collect();
        for (place, flag) in unserved.iter().enumerate() {
            assert!(!served(flag) && !unserved[..place].contains(flag), "{flag}");
        }
    }

    #[test]
    fn what_is_so_anyway_holds() {
        let holds = |flag: &str, value: &str| holds(flag, Some(OsStr::new(value)));
        assert!(holds("auto-tls", "false") && holds("auto-tls", "F") && !holds("auto-tls", "true"));
        assert!(!holds("auto-tls", "perhaps") && !super::holds("auto-tls", None));
        assert!(super::holds("enable-grpc-gateway", None) && !holds("enable-grpc-gateway", "0"));
        assert!(holds("wal-dir", "") && !holds("wal-dir", "x") && holds("metrics", "basic"));
        let defragmented = "bootstrap-defrag-threshold-megabytes";
        assert!(holds(defragmented, "0") && !is_switch(defragmented));
        assert!(!holds("logger", "zap") && !holds("name", "x") && reason("name").is_none());
    }

    #[test]
    fn the_environment_is_not_refused() {
        let environment = |name: &str| match name {
            "ETCD_WAL_DIR" => Some("x".into()),
            "ETCD_AUTO_TLS" => Some("false".into()),
            "ETCD_DISCOVERY" => Some("".into()),
            "ETCD_VERSION" => Some("3.6".into()),
            _ => None,
        };
        let said = ignored(environment);
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("ETCD_WAL_DIR is ignored: "), "{said:?}");
    }
}
