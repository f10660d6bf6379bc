//! `detcd scenarios`: what is built in.

use serde::Serialize;

use crate::cli::ScenariosArgs;
use crate::exit::{suggestion, Exit, Failure};
use crate::output::console;
use crate::scenario::{description, BUILT_IN};

#[derive(Serialize)]
struct Line<'a> {
    schema: &'static str,
    name: &'a str,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

pub(super) fn execute(args: &ScenariosArgs) -> Result<Exit, Failure> {
    let shown: Vec<_> = match &args.name {
        None => BUILT_IN.to_vec(),
        Some(name) => {
            let found = BUILT_IN.iter().find(|(known, _)| known == name).ok_or_else(|| {
                let hint = suggestion(name, BUILT_IN.iter().map(|(known, _)| *known));
                Failure::usage(format!("no scenario `{name}`{hint} (detcd scenarios lists them)"))
            })?;
            vec![*found]
        }
    };
    let width = BUILT_IN.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, text) in shown {
        let description = description(text);
        if args.output.json {
            let text = args.name.is_some().then_some(text);
            console::json(&Line { schema: "detcd.scenario/1", name, description, text })?;
        } else if args.name.is_some() {
            console::line(text.trim_end())?;
        } else {
            console::line(&format!("{name:width$}  {description}"))?;
        }
    }
    Ok(Exit::Pass)
}
