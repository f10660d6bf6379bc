//! Flags as Go's package `flag` reads them, and so etcd: one dash or two, a value behind `=` or as the next word
//! whatever that begins with, a switch by its name alone, and of a flag that comes again the last. Values of Go, too.
//!
//! [`joined`] makes of the words what clap reads the same way, `--name=value`. It does not know what a flag means.

use std::ffi::OsString;

use clap::builder::Resettable;
use clap::{Arg, Command};
use detcd_replica::time::Span;

use super::unserved;
use crate::exit::{suggestion, Failure};

/// The words behind a command's name, each flag one word with its value, under the name that the command has for it.
///
/// # Errors
/// A word that is no flag, a flag that there is not, or one whose value is missing: exit 2.
pub(super) fn joined(command: &Command, words: &[OsString]) -> Result<Vec<OsString>, Failure> {
    let mut found: Vec<(&str, OsString)> = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(text) = word.to_str() else {
            // It has a path in it, and clap is left to split it.
            found.push(("", word.clone()));
            continue;
        };
        let bare = text.strip_prefix("--").or_else(|| text.strip_prefix('-')).unwrap_or_default();
        if bare.is_empty() || bare.starts_with(['-', '=']) {
            return Err(Failure::usage(format!("`{text}` is no flag, and serve takes nothing else")));
        }
        let (name, value) = match bare.split_once('=') {
            Some((name, value)) => (name, Some(OsString::from(value))),
            None => (bare, None),
        };
        if let "h" | "help" = name {
            return Ok(vec![if name == "h" { "-h" } else { "--help" }.into()]);
        }
        let arg = command.get_arguments().find(|arg| is_called(arg, name));
        let is_switch = arg.map_or_else(|| unserved::is_switch(name), is_switch);
        let value = value.or_else(|| if is_switch { None } else { words.next().cloned() });
        if value.is_none() && !is_switch && (arg.is_some() || unserved::reason(name).is_some()) {
            return Err(Failure::usage(format!("--{name}: its value is missing")));
        }
        match (arg.and_then(Arg::get_long), unserved::reason(name)) {
            (Some(long), _) => {
                found.retain(|(before, _)| *before != long);
                // An empty text is Go's for none.
                let is_empty = value.as_ref().is_some_and(|value| value.is_empty());
                if is_empty && arg.is_some_and(|arg| arg.get_default_values().is_empty()) {
                    continue;
                }
                let mut flag = OsString::from(format!("--{long}"));
                if let Some(value) = value {
                    flag.push("=");
                    flag.push(value);
                }
                found.push((long, flag));
            }
            (None, Some(_)) if unserved::holds(name, value.as_deref()) => {}
            (None, Some(reason)) => {
                return Err(Failure::usage(format!("etcd's flag --{name} is not served here: {reason}")))
            }
            (None, None) => {
                let hint = suggestion(name, command.get_arguments().filter_map(Arg::get_long));
                return Err(Failure::usage(format!("no flag --{name}{hint} (detcd serve --help lists them)")));
            }
        }
    }
    Ok(found.into_iter().map(|(_, flag)| flag).collect())
}

/// The command, for which a variable of the environment that is empty is not there, as for etcd.
pub(super) fn without_empty_variables(command: Command) -> Command {
    command.mut_args(|arg| match arg.get_env().and_then(std::env::var_os) {
        Some(value) if value.is_empty() => arg.env(Resettable::Reset),
        _ => arg,
    })
}

/// Whether the argument has this name.
pub(super) fn is_called(arg: &Arg, name: &str) -> bool {
    arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
}

/// Whether its name is enough.
fn is_switch(arg: &Arg) -> bool {
    arg.get_num_args().is_some_and(|values| values.min_values() == 0)
}

/// A switch, for which its name is enough.
///
/// # Errors
/// It is neither true nor false.
pub(super) fn parse_switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("a switch is true or false".to_owned()),
    }
}

/// A time, in whole units: `1h30m`, `250ms`.
///
/// # Errors
/// It is none, or too long.
pub(super) fn parse_span(text: &str) -> Result<Span, String> {
    let wrong = || format!("{text}: a time is like 1h30m, 90s or 250ms");
    let (mut rest, mut sum) = (text, 0_u64);
    if rest == "0" {
        return Ok(Span::ZERO);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "\u{b5}s" => 1_000,
            "ns" => 1,
            _ => return Err(wrong()),
        };
        sum = number.checked_mul(unit).and_then(|more| sum.checked_add(more)).ok_or_else(wrong)?;
        rest = &rest[letters..];
    }
    Ok(Span(sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<String, String> {
        let words: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
        let definition = crate::cli::definition();
        let serve = definition.find_subcommand("serve").expect("there is one");
        let joined = joined(serve, &words).map_err(|failure| failure.message)?;
        Ok(joined.iter().map(|word| word.to_str().expect("text")).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn flags_are_read_as_by_go() {
        for (typed, expect) in [
            ("", ""),
            ("-name a --data-dir=b -max-txn-ops=5", "--name=a --data-dir=b --max-txn-ops=5"),
            ("--name=a=b --name= -name c", "--name=c"),
            ("--cert-file a --key-file b --cert-file=", "--key-file=b"),
            ("-quota-backend-bytes -1", "--quota-backend-bytes=-1"),
            (
                "--data-dir --name -pre-vote --client-cert-auth=false",
                "--data-dir=--name --pre-vote --client-cert-auth=false",
            ),
            ("--experimental-corrupt-check-time 1s --corrupt-check-time 2s", "--corrupt-check-time=2s"),
            ("-help", "--help"),
            ("--name a -h", "-h"),
        ] {
            assert_eq!(read(typed).as_deref(), Ok(expect), "{typed}");
        }
    }

    #[test]
    fn what_is_no_flag_is_refused() {
        for (typed, part) in [
            ("status", "`status`"),
            ("--pre-vote false", "`false`"),
            ("-- --name", "`--`"),
            ("---name=a", "`---name=a`"),
            ("-=a", "`-=a`"),
            ("--name", "--name: its value"),
            ("--nam a", "did you mean `name`"),
            ("--wal-dir x", "etcd's flag --wal-dir is not served here: "),
            ("-auto-tls", "etcd's flag --auto-tls is not served here: "),
            ("--config-file", "--config-file: its value"),
        ] {
            let message = read(typed).expect_err(typed);
            assert!(message.contains(part) && !message.contains('\n'), "{typed}: {message}");
        }
    }

    #[test]
    fn times_are_gos() {
        let parsed = |text| parse_span(text).map(|span| span.0).ok();
        assert_eq!(parsed("1h30m"), Some(5_400_000_000_000));
        assert_eq!((parsed("0s"), parsed("0"), parsed("250ms")), (Some(0), Some(0), Some(250_000_000)));
        for wrong in ["", "5", "s", "1.5h", "-1s", "1d", "99999999999h"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }
}
