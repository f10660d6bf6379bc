//! Scenario files: built in or read, edited by `--set`, and parsed strictly into the world's own type.
//!
//! Promises: whatever is wrong, one line names the file, the line and column (or the setting), the field, and what was
//! probably meant. Does not know which fields there are: the type says, and its refusals are read back.

use std::path::Path;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::exit::{suggestion, Failure};

/// The scenarios that are part of the program: name and text, in the order of their names.
pub(crate) const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/scenarios.rs"));

/// A scenario with its settings applied.
#[derive(Clone, Debug)]
pub(crate) struct Scenario<T> {
    /// Its name: of the built-in, or of the file without folder and extension.
    pub(crate) name: String,
    /// What the file says, with the settings applied: what a repro file embeds.
    pub(crate) table: Table,
    /// The same, as the world reads it.
    pub(crate) world: T,
}

/// One `--set path=value`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Setting {
    path: Vec<String>,
    value: Value,
    text: String,
}

impl Setting {
    /// `path=value`, the value in TOML or a bare word.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (path, value) = text.split_once('=').ok_or("a setting is path=value, for instance net.loss=0.02")?;
        let path: Vec<String> = path.trim().split('.').map(|part| part.trim().to_owned()).collect();
        let sound = |part: &String| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        };
        if !path.iter().all(sound) {
            return Err("a path is names joined by dots, for instance net.loss".to_owned());
        }
        Ok(Self { path, value: parse_value(value.trim())?, text: text.to_owned() })
    }

    /// As it was typed.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Puts the value into its place; tables on the way are made.
    fn apply(&self, table: &mut Table) -> Result<(), String> {
        let (last, way) = self.path.split_last().expect("parsed with one part or more");
        let mut place = Place::Table(table);
        for part in way {
            place = place.enter(part)?;
        }
        place.put(last, self.value.clone())
    }
}

/// Where a part of a path leads on from.
enum Place<'a> {
    Table(&'a mut Table),
    Array(&'a mut Vec<Value>),
}

impl<'a> Place<'a> {
    fn enter(self, part: &str) -> Result<Self, String> {
        let value = match self {
            Place::Table(table) => table.entry(part).or_insert_with(|| Value::Table(Table::new())),
            Place::Array(array) => element(array, part)?,
        };
        match value {
            Value::Table(table) => Ok(Place::Table(table)),
            Value::Array(array) => Ok(Place::Array(array)),
            other => Err(format!("`{part}` is a {}, not a table", other.type_str())),
        }
    }

    fn put(self, part: &str, value: Value) -> Result<(), String> {
        match self {
            Place::Table(table) => {
                table.insert(part.to_owned(), value);
            }
            Place::Array(array) => *element(array, part)? = value,
        }
        Ok(())
    }
}

fn element<'a>(array: &'a mut [Value], part: &str) -> Result<&'a mut Value, String> {
    let count = array.len();
    part.parse::<usize>()
        .ok()
        .and_then(|index| array.get_mut(index))
        .ok_or_else(|| format!("`{part}` is not one of the {count} places of the array, from 0"))
}

/// TOML, or a bare word as a string.
fn parse_value(text: &str) -> Result<Value, String> {
    if text.is_empty() {
        return Err("the value is missing (an empty string is '')".to_owned());
    }
    if text.contains(['\n', '\r']) {
        return Err("a value is one line".to_owned());
    }
    match format!("value = {text}").parse::<Table>() {
        Ok(mut table) => Ok(table.remove("value").expect("just written")),
        Err(error) if text.starts_with(['"', '\'', '[', '{']) => {
            Err(format!("the value is not TOML: {}", error.message().lines().next().unwrap_or("unreadable")))
        }
        Err(_) => Ok(Value::String(text.to_owned())),
    }
}

/// Finds a scenario by its built-in name or its path, applies the settings and parses it.
///
/// # Errors
/// One line, exit 2.
pub(crate) fn load<T: DeserializeOwned>(name: &str, settings: &[Setting]) -> Result<Scenario<T>, Failure> {
    if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
        return parse(name, &format!("{name} (built in)"), text, settings);
    }
    let path = Path::new(name);
    if path.extension().is_some_and(|extension| extension == "toml") || path.components().count() > 1 {
        let bytes = std::fs::read(path).map_err(|error| Failure::usage(format!("scenario {name}: {error}")))?;
        let text = String::from_utf8(bytes).map_err(|_| Failure::usage(format!("scenario {name}: not UTF-8")))?;
        let stem = path.file_stem().map_or_else(|| name.into(), |stem| stem.to_string_lossy());
        return parse(&stem, name, &text, settings);
    }
    let hint = suggestion(name, BUILT_IN.iter().map(|(known, _)| *known));
    Err(Failure::usage(format!("no scenario `{name}`{hint} (detcd scenarios lists them; a file's name ends in .toml)")))
}

/// Parses the text of a scenario. `origin` is how messages call it.
pub(crate) fn parse<T: DeserializeOwned>(
    name: &str,
    origin: &str,
    text: &str,
    settings: &[Setting],
) -> Result<Scenario<T>, Failure> {
    // First as it stands, so that what is wrong with the file is found in the file.
    let world = toml::from_str::<T>(text).map_err(|error| Failure::usage(locate(origin, text, &error)))?;
    let mut table: Table = text.parse().map_err(|error| Failure::usage(locate(origin, text, &error)))?;
    if settings.is_empty() {
        return Ok(Scenario { name: name.to_owned(), table, world });
    }
    let original = table.clone();
    let apply = |table: &mut Table, setting: &Setting| {
        setting.apply(table).map_err(|reason| Failure::usage(format!("--set {}: {reason}", setting.text())))
    };
    settings.iter().try_for_each(|setting| apply(&mut table, setting))?;
    match T::deserialize(table.clone()) {
        Ok(world) => Ok(Scenario { name: name.to_owned(), table, world }),
        Err(all) => {
            // The settings belong together; to blame is the first one after which it no longer parses.
            let mut table = original;
            for setting in settings {
                apply(&mut table, setting)?;
                if let Err(error) = T::deserialize(table.clone()) {
                    let reason = explain(error.message());
                    return Err(Failure::usage(format!("--set {}: {reason}", setting.text())));
                }
            }
            Err(Failure::usage(format!("--set: {}", explain(all.message()))))
        }
    }
}

/// `file:line:column: what is wrong`, from an error of the TOML parser.
pub(crate) fn locate(origin: &str, text: &str, error: &toml::de::Error) -> String {
    let reason = explain(error.message());
    let Some(span) = error.span() else {
        return format!("{origin}: {reason}");
    };
    let before = &text.as_bytes()[..span.start.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
    format!("{origin}:{line}:{column}: {reason}")
}

/// One line of a parser's message; when it refuses a name and lists those it knows, also the one that was meant.
fn explain(message: &str) -> String {
    let line = message.split('\n').map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
    if line.is_empty() {
        return "not TOML from here on".to_owned();
    }
    let Some((refused, known)) = line.split_once(", expected ") else {
        return line;
    };
    if !refused.starts_with("unknown ") {
        return line;
    }
    let quoted = |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let word = quoted(refused).pop().unwrap_or_default();
    let known = quoted(known);
    let hint = suggestion(&word, known.iter().map(String::as_str));
    if hint.is_empty() {
        line
    } else {
        format!("{refused}{hint}")
    }
}

/// What a scenario is about: its `description`, or the first comment of the file.
pub(crate) fn description(text: &str) -> String {
    let table: Table = text.parse().unwrap_or_default();
    let described = table.get("description").and_then(Value::as_str).and_then(|text| text.lines().next());
    let commented = || {
        let comment = text.lines().map(str::trim).take_while(|line| line.is_empty() || line.starts_with('#'));
        comment.map(|line| line.trim_start_matches('#').trim()).find(|line| !line.is_empty())
    };
    described.or_else(commented).unwrap_or("").to_owned()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        nodes: u8,
        profile: String,
        net: Net,
        episodes: Vec<Net>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Net {
        loss: f64,
        reorder: f64,
    }

    const TEXT: &str = "# A sample.\nnodes = 3\nprofile = \"nvme\"\n[net]\nloss = 0.01\n[[episodes]]\nloss = 0.5\n";

    fn set(settings: &[&str]) -> Result<Sample, String> {
        let settings: Vec<Setting> = settings.iter().map(|text| Setting::parse(text).expect(text)).collect();
        parse::<Sample>("sample", "sample.toml", TEXT, &settings)
            .map(|scenario| scenario.world)
            .map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_setting_replaces_one_value() {
        assert_eq!(set(&["nodes=5"]).expect("sound").nodes, 5);
        assert_eq!(set(&["net.loss=2e-2"]).expect("sound").net.loss, 0.02);
        assert_eq!(set(&["episodes.0.reorder=0.25"]).expect("sound").episodes[0].reorder, 0.25);
        assert_eq!(set(&["profile=ebs-gp3"]).expect("sound").profile, "ebs-gp3");
        assert_eq!(set(&["profile='x=y'"]).expect("sound").profile, "x=y");
        assert_eq!(set(&["nodes=5", "nodes = 7"]).expect("sound").nodes, 7);
    }

    #[test]
    fn a_wrong_setting_is_named_with_what_was_meant() {
        for (settings, parts) in [
            (&["nodez=5"][..], &["--set nodez=5", "did you mean `nodes`"][..]),
            (&["nodes=5", "net.los=1.0"], &["--set net.los=1.0", "did you mean `loss`"]),
            (&["nodes=many"], &["--set nodes=many", "invalid type"]),
            (&["nodes=300"], &["--set nodes=300", "300"]),
            (&["nodes.x=3"], &["`nodes` is a integer"]),
            (&["episodes.4.loss=0.1"], &["`4`", "1 places"]),
        ] {
            let message = set(settings).expect_err("it is wrong");
            assert!(parts.iter().all(|part| message.contains(part)), "{settings:?}: {message}");
        }
        for text in ["", "=", "nodes", "=3", "a..b=1", "nodes=", "a=[1", "a b=1", "a={", "a=1\nb=2"] {
            assert!(Setting::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_wrong_file_is_located() {
        for (text, at, part) in [
            ("nodes = 3\nnodez = 4\n", "f.toml:2:1: ", "did you mean `nodes`"),
            ("nodes = \"x\"", "f.toml:1:9: ", "invalid type"),
            ("nodes = ", "f.toml:1:9: ", ""),
            ("[net]\nloss = 0.1\n\n  reordr = 1.0", "f.toml:4:3: ", "did you mean `reorder`"),
            ("nodes = 3\nnodes = 4", "f.toml:2:1: ", "duplicate"),
            ("nodes = -1", "f.toml:1:9: ", ""),
            ("é = 1", "f.toml:1:1: ", ""),
        ] {
            let message = parse::<Sample>("f", "f.toml", text, &[]).expect_err(text).to_string();
            assert!(message.starts_with(at) && message.contains(part), "{text:?}: {message}");
        }
    }

    #[test]
    fn no_cut_or_changed_byte_makes_the_loader_panic() {
        for end in 0..TEXT.len() {
            let _ = parse::<Sample>("cut", "cut", &TEXT[..end], &[]);
            for byte in [b'\0', b'"', b'[', b'=', b'\n', b'9'] {
                let mut bytes = TEXT.as_bytes().to_vec();
                bytes[end] = byte;
                let text = String::from_utf8(bytes).expect("ASCII");
                let _ = parse::<Sample>("changed", "changed", &text, &[]);
                let _ = Setting::parse(&text[end..]);
            }
        }
    }

    #[test]
    fn a_description_is_a_field_or_the_first_comment() {
        assert_eq!(description(TEXT), "A sample.");
        assert_eq!(description("# no\ndescription = \"yes\\nmore\"\n"), "yes");
        assert_eq!(description("nodes = 1\n# late"), "");
    }

    #[test]
    fn every_built_in_says_what_it_is_about() {
        assert!(BUILT_IN.iter().any(|(name, _)| *name == "swarm"));
        for (name, text) in BUILT_IN {
            assert!(!description(text).is_empty(), "{name}");
        }
    }
}
