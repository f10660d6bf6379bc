//! Histories of real systems with the verdicts of their sources, a table of malformed texts, and garbage.

use super::*;

const BUDGET: u64 = 100_000_000;

#[test]
fn formats_are_told_by_their_content() {
    for (text, expect) in [
        ("INFO  jepsen.util - 0\t:invoke\t:read\tnil", Some(Format::JepsenLog)),
        ("\n\n2015-01-01 INFO  jepsen.core - started\n", Some(Format::JepsenLog)),
        ("{:process 9, :type :invoke}", Some(Format::Edn)),
        ("; a comment\n[{:type :invoke}]", Some(Format::Edn)),
        ("[\n{:type :invoke}]", Some(Format::Edn)),
        ("({:type :invoke})", Some(Format::Edn)),
        ("#jepsen.history.Op{:type :invoke}", Some(Format::Edn)),
        ("{ :process 1}", Some(Format::Edn)),
        ("[]", Some(Format::Edn)),
        ("{\"client\":1}", None),
        ("[{\"client\":1}]", None),
        ("", None),
        ("client,op\n", None),
    ] {
        assert_eq!(Format::of(text), expect, "{text}");
    }
}

#[test]
fn malformed_histories_are_refused_with_line_field_and_reason() {
    let invoke = "{:process 1, :type :invoke, :f :write, :value 1}";
    for (text, expect) in [
        ("", "line 1: format: the file is empty"),
        ("hello", "line 1: format: it is neither a Jepsen log nor a history in EDN"),
        ("[{:type :invoke", "line 1, column 2: event: a bracket is opened and never closed"),
        ("[{:process 1, :type :invoke, :f :read}", "line 1: history: its bracket is opened and never closed"),
        ("[{:type :invoke, :f :read}]", "line 1: :process: it is missing"),
        ("[\n{:process 1, :f :read}]", "line 2: :type: it is missing"),
        ("[{:process 1, :type :invoke}]", "line 1: :f: it is missing"),
        ("[{:process \"x\", :type :invoke, :f :read}]", "line 1: :process: it is a string, not an integer"),
        ("[{:process 1, :type 3, :f :read}]", "line 1: :type: it is an integer, not a keyword"),
        ("[{:process 1, :process 2}]", "line 1: :process: it is given twice"),
        ("{:process 1, :type :ok, :f :read}", "line 1: :process: process 1 ends an operation that it never invoked"),
        ("{:process 1, :type :late, :f :read}", "line 1: :type: ':late' is none of :invoke, :ok, :fail and :info"),
        (
            &format!("{invoke}\n{invoke}"),
            "line 2: :process: process 1 invokes again before its operation of line 1 has ended",
        ),
        (
            &format!("{invoke}\n{{:process 1, :type :ok, :f :read}}"),
            "line 2: :f: process 1 ends ':read' but invoked ':write'",
        ),
        (&format!("[{invoke} 7]"), "line 1: event: it is an integer, where a map of one event was expected"),
        ("[{:process 1, :type :invoke, :f :fly}]", "line 1: :f: no model has an operation named 'fly'"),
        (
            &format!("{invoke}\n{{:process 2, :type :invoke, :f :append}}"),
            "line 2: :f: the model 'cas-register' has no operation named 'append'",
        ),
        (
            "{:process 1, :type :invoke, :f :cas, :value 1}",
            "line 1: :value: it is an integer, where cas needs [old new]",
        ),
        (
            "{:process 1, :type :invoke, :f :cas, :value [1]}",
            "line 1: :value: it has 1 values, where cas needs [old new]",
        ),
        ("{:process 1, :type :invoke, :f :put, :value \"x\"}", "line 1: :key: it is missing"),
        ("{:process 1, :type :invoke, :f :put, :key [], :value \"x\"}", "line 1: :key: it is a vector, not a string"),
        (
            "{:process 1, :type :invoke, :f :put, :key \"x\", :value 1}",
            "line 1: :value: it is an integer, not a string",
        ),
        (
            "INFO  jepsen.util - 0\t:invoke\t:read\tnil\ngarbage",
            "line 2: line: it is no line of a Jepsen log: there is no ' - '",
        ),
        ("INFO  jepsen.util - 0\t:invoke\t:read\t[", "line 1, column 37: line: a bracket is opened and never closed"),
        ("INFO  jepsen.util - 0\t:invoke", "line 1: :f: it is missing"),
    ] {
        let error = parse(text, None).expect_err(text);
        assert_eq!(error.to_string(), expect, "{text}");
    }
    let error = parse(invoke, Some(ModelName::Etcd)).unwrap_err();
    assert_eq!(error.reason, "the model 'etcd' reads detcd's own histories, not this format");
}

#[test]
fn outcomes_are_read_as_their_formats_mean_them() {
    let line = |text: &str| format!("INFO  jepsen.util - {text}\n");
    let check = |lines: &[&str], model| {
        let text: String = lines.iter().map(|text| line(text)).collect();
        check_foreign(&text, model, true, BUDGET).unwrap()
    };
    let write = ["0 :invoke :write 1", "0 :ok :write 1"];
    // A failed compare-and-set of the value that is there: etcd would have set it, others may fail for any reason.
    let refused = [write[0], write[1], "1 :invoke :cas [1 2]", "1 :fail :cas [1 2]"];
    assert_eq!(check(&refused, None).verdict, Outcome::Violation);
    assert_eq!(check(&refused, Some(ModelName::CasRegister)).verdict, Outcome::Linearizable);
    // A write that timed out may show late, or never.
    for value in ["1", "2"] {
        let read = format!("2 :ok :read {value}");
        let late =
            [write[0], write[1], "1 :invoke :write 2", "1 :info :write :timed-out", "2 :invoke :read nil", &read];
        assert_eq!(check(&late, None).verdict, Outcome::Linearizable);
    }
    let failed = ["1 :invoke :write 2", "1 :fail :write 2", "2 :invoke :read nil", "2 :ok :read 2"];
    let report = check(&failed, None);
    assert_eq!((report.verdict, report.operations), (Outcome::Violation, 1));
    assert_eq!(
        report.window,
        ["fits nowhere: lines 3-4, process 2: read -> 2", "before it returned, the state could be: nil"]
    );
    // Other lines of the log, and the nemesis, are no operations.
    let others = [":nemesis :info :start nil", "0 :invoke :read nil", "0 :ok :read nil"];
    assert_eq!(check(&others, None).operations, 1);
}

#[test]
fn no_garbage_panics() {
    let seeds = [
        "INFO  jepsen.util - 0\t:invoke\t:cas\t[1 2]\nINFO  jepsen.util - 0\t:ok\t:cas\t[1 2]\n",
        "[{:process 1, :type :invoke, :f :write, :value 1}\n {:process 1, :type :ok, :f :write, :value 1}]",
        "{:process 1, :type :invoke, :f :append, :key \"é\", :value \"x\\n\"}\n{:process 1, :type :ok, :f :append}\n",
        "({:process 1, :type :invoke, :f :acquire} #tag {:process 1, :type :info, :f :acquire})",
    ];
    let pieces =
        ["{", "}", "[", "]", "(", ")", "\"", "\\", ":", "#", "#_", "nil", "é", "\n", "-", "9", " - ", ";", "\u{feff}"];
    let mut state = 7_u64;
    let mut below = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let (mut read, mut refused) = (0, 0);
    for round in 0..20_000 {
        let mut text: Vec<char> = if round % 4 == 0 { Vec::new() } else { seeds[below(4)].chars().collect() };
        for _ in 0..1 + below(6) {
            let at = below(text.len() + 1);
            match below(3) {
                0 if at < text.len() => {
                    text.remove(at);
                }
                1 => text.truncate(at.max(text.len() / 2)),
                _ => {
                    let tail = text.split_off(at);
                    text.extend(pieces[below(pieces.len())].chars().chain(tail));
                }
            }
        }
        let text: String = text.into_iter().collect();
        match check_foreign(&text, None, round % 2 == 0, 10_000) {
            Ok(_) => read += 1,
            Err(error) => {
                assert!(!error.reason.is_empty() && error.line >= 1);
                refused += 1;
            }
        }
    }
    assert!(read > 500 && refused > 500, "{read} read, {refused} refused");
}
