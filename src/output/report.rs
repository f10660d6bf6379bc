//! `report.html`: one file that needs no other, no network and no script. The bytes depend on the run alone.
//!
//! Reads the trace and the history as plain JSON, so that a new field shows without a change here.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::human;
use crate::engine::RunReport;

/// Operations shown around the finding.
const OPERATIONS_MAX: usize = 60;
/// Marks in the timeline; a longer trace is thinned evenly.
const MARKS_MAX: usize = 4_000;

const STYLE: &str = "\
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}pre{overflow-x:auto;padding:1rem;border:1px solid #8886;\
border-radius:6px;font:13px/1.45 ui-monospace,monospace}table{border-collapse:collapse;font-size:13px}\
td,th{padding:.2rem .6rem;border-bottom:1px solid #8884;text-align:left;vertical-align:top;\
font-family:ui-monospace,monospace}.scroll{overflow-x:auto}.bad{color:#c62828}.good{color:#2e7d32}\
tr.at td{background:#c6282822}svg{width:100%;height:auto;font:11px ui-monospace,monospace}";

/// The page.
pub(crate) fn html(run: &RunReport, block: &str, repro: &str) -> String {
    let at = run.violation.as_ref().and_then(|violation| violation.at);
    let class = if run.verdict == crate::engine::Verdict::Pass { "good" } else { "bad" };
    let title = format!("{} seed {}: {}", run.scenario, run.seed, human::verdict(run.verdict));
    let mut page = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.push_str(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
    );
    page.push_str("<meta name=\"viewport\" content=\"width=device-width\">");
    let _ = write!(page, "<title>{}</title><style>{STYLE}</style></head>\n<body>\n", escape(&title));
    let _ = write!(page, "<h1 class=\"{class}\">{}</h1>\n<pre>{}</pre>\n", escape(&title), escape(block));
    if let Some(violation) = run.violation.as_ref().filter(|violation| !violation.details.is_empty()) {
        let _ = write!(page, "<h2>The facts behind it</h2>\n<pre>{}</pre>\n", escape(&violation.details.join("\n")));
    }
    let _ = write!(page, "<h2>Faults over simulated time</h2>\n{}\n", timeline(run));
    let _ = write!(page, "<h2>Operations{}</h2>\n{}\n", around(at), operations(&run.history, at));
    let _ = write!(page, "<h2>Checks made</h2>\n<p>{}</p>\n", escape(&run.checks.join(", ")));
    let _ = write!(page, "<h2>repro.toml</h2>\n<pre id=\"repro\">{}</pre>\n</body></html>\n", escape(repro));
    page
}

fn around(at: Option<u64>) -> String {
    at.map(|at| format!(" up to event {at}")).unwrap_or_default()
}

/// The last operations that were called before the finding, a row each; the columns are the fields they have.
fn operations(history: &str, at: Option<u64>) -> String {
    let rows: Vec<Map<String, Value>> = history.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let before = |row: &&Map<String, Value>| match (row.get("call").and_then(Value::as_u64), at) {
        (Some(call), Some(at)) => call <= at,
        _ => true,
    };
    let rows: Vec<&Map<String, Value>> = rows.iter().filter(before).collect();
    let left_out = rows.len().saturating_sub(OPERATIONS_MAX);
    let shown = &rows[left_out..];
    if shown.is_empty() {
        return "<p>The history holds no operation up to here.</p>".to_owned();
    }
    let mut columns: Vec<&str> = Vec::new();
    for name in shown.iter().flat_map(|row| row.keys()) {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    let mut table = String::from("<div class=\"scroll\"><table><tr>");
    for column in &columns {
        let _ = write!(table, "<th>{}</th>", escape(column));
    }
    table.push_str("</tr>\n");
    for row in shown {
        table.push_str("<tr>");
        for column in &columns {
            let _ = write!(table, "<td>{}</td>", row.get(*column).map(cell).unwrap_or_default());
        }
        table.push_str("</tr>\n");
    }
    table.push_str("</table></div>");
    if left_out > 0 {
        let _ = write!(table, "<p>{left_out} earlier operations are in history.jsonl.</p>");
    }
    table
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => escape(text),
        Value::Null => String::new(),
        other => escape(&other.to_string()),
    }
}

/// A mark for each fault of the trace, a row for each kind.
fn timeline(run: &RunReport) -> String {
    struct Mark {
        nanos: u64,
        event: u64,
        kind: String,
        text: String,
    }
    let mut marks: Vec<Mark> = run
        .trace
        .iter()
        .filter_map(|line| serde_json::from_str::<Map<String, Value>>(line).ok())
        .filter_map(|event| {
            let kind = event.get("kind")?.as_str()?;
            let kind = kind.strip_prefix("fault.")?.to_owned();
            let number = |name: &str| event.get(name).and_then(Value::as_u64).unwrap_or(0);
            let text =
                event.iter().map(|(name, value)| format!("{name}={}", value_text(value))).collect::<Vec<_>>().join(" ");
            Some(Mark { nanos: number("t"), event: number("n"), kind, text })
        })
        .collect();
    if marks.is_empty() {
        return "<p>The trace holds no fault.</p>".to_owned();
    }
    let step = marks.len().div_ceil(MARKS_MAX);
    if step > 1 {
        let mut place = 0;
        marks.retain(|_| {
            place += 1;
            (place - 1) % step == 0
        });
    }
    let mut kinds: Vec<&str> = marks.iter().map(|mark| mark.kind.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let last = marks.iter().map(|mark| mark.nanos).max().unwrap_or(0);
    let end = (run.simulated_ms * 1_000_000).max(last).max(1);
    let (left, width, row) = (190.0, 800.0, 20.0);
    let height = row * (kinds.len() as f64 + 1.5);
    let mut svg = format!(
        "<svg viewBox=\"0 0 1000 {height}\" role=\"img\" aria-label=\"{} faults of {} kinds\">",
        marks.len(),
        kinds.len()
    );
    for (place, kind) in kinds.iter().enumerate() {
        let y = row * (place as f64 + 0.5);
        let _ = write!(
            svg,
            "<text x=\"4\" y=\"{:.1}\" fill=\"currentColor\">{}</text>\
             <line x1=\"{left}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#8884\"/>",
            y + 4.0,
            escape(kind),
            left + width
        );
        for mark in marks.iter().filter(|mark| mark.kind == *kind) {
            let x = left + width * (mark.nanos as f64 / end as f64);
            let _ = write!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"#c62828\" fill-opacity=\".6\">\
                 <title>event {}: {}</title></circle>",
                mark.event,
                escape(&mark.text)
            );
        }
    }
    for tenth in 0..=10u64 {
        let x = left + width * tenth as f64 / 10.0;
        let seconds = end as f64 * tenth as f64 / 10.0 / 1e9;
        let _ = write!(
            svg,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"currentColor\">{seconds:.1}s</text>",
            height - 6.0
        );
    }
    svg.push_str("</svg>");
    svg
}

fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Text as HTML.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Verdict;
    use crate::output::lines::tests::report;

    #[test]
    fn a_page_holds_everything_and_nothing_live() {
        let mut run = report(7, Verdict::Violation);
        run.history.push_str("{\"call\":9000,\"client\":3,\"request\":\"zebra\"}\nnot json\n");
        run.violation.as_mut().expect("it failed").summary = "<script>alert(1)</script>".to_owned();
        let page = html(&run, "FAIL <script>", "seed = \"7\"");
        for part in ["FAIL &lt;script&gt;", "get a", "<circle", "event 650", "seed = &quot;7&quot;", "fact 39", "R1"] {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("zebra"), "{page}");
    }

    #[test]
    fn an_empty_run_is_a_page_too() {
        let mut run = report(7, Verdict::Panic);
        run.trace.clear();
        run.history.clear();
        run.violation = None;
        let page = html(&run, "", "");
        assert!(page.contains("no fault") && page.contains("no operation"));
    }
}
