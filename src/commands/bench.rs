//! `detcd bench`: the cases of [`crate::bench`], as a table or as JSON.

use crate::bench::{self, Figure};
use crate::cli::BenchArgs;
use crate::exit::{Exit, Failure};
use crate::output::{console, human};

pub(super) fn execute(args: &BenchArgs) -> Result<Exit, Failure> {
    let wanted = args.case.as_deref().unwrap_or("");
    let cases: Vec<_> = bench::CASES.iter().filter(|case| case.name.contains(wanted)).collect();
    if cases.is_empty() {
        let hint = crate::exit::suggestion(wanted, bench::CASES.iter().map(|case| case.name));
        let names: Vec<&str> = bench::CASES.iter().map(|case| case.name).collect();
        return Err(Failure::usage(format!("no case `{wanted}`{hint} (there are: {})", names.join(", "))));
    }
    if !args.output.json {
        console::line(&format!("{:<12} {:>12} {:<34} {:>9} {:>9}  what", "case", "figure", "unit", "CPU s", "wall s"))?;
    }
    for case in cases {
        if !args.output.quiet && !args.output.json {
            eprintln!("{} …", case.name);
        }
        for figure in (case.measure)(case)? {
            if args.output.json {
                console::json(&figure)?;
            } else {
                console::line(&row(&figure))?;
            }
        }
    }
    Ok(Exit::Pass)
}

fn row(figure: &Figure) -> String {
    let aim = figure.aim.map(|aim| format!(" (aim {})", human::scaled(aim))).unwrap_or_default();
    let row = format!(
        "{:<12} {:>12} {:<34} {:>9.2} {:>9.2}  {}{aim}",
        figure.case,
        human::scaled(figure.figure),
        figure.unit,
        figure.cpu_ms / 1e3,
        figure.wall_ms / 1e3,
        figure.what,
    );
    let parts: Vec<String> = figure.parts.iter().map(|(part, share)| format!("{part} {share:.1}%")).collect();
    if parts.is_empty() {
        row
    } else {
        format!("{row}\n{:>13}{}", "", parts.join(" · "))
    }
}
