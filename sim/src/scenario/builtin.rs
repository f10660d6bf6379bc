//! The scenarios that are in the binary, so that it runs from any folder.

/// Each by name, with its text (TOML).
pub const BUILTIN: [(&str, &str); 12] = [
    ("swarm", include_str!("../../../scenarios/swarm.toml")),
    ("quiet", include_str!("../../../scenarios/quiet.toml")),
    ("etcd-put", include_str!("../../../scenarios/etcd-put.toml")),
    ("etcd-mix", include_str!("../../../scenarios/etcd-mix.toml")),
    ("kubernetes", include_str!("../../../scenarios/kubernetes.toml")),
    ("scale", include_str!("../../../scenarios/scale.toml")),
    ("single-member", include_str!("../../../scenarios/single-member.toml")),
    ("election-churn", include_str!("../../../scenarios/election-churn.toml")),
    ("readindex", include_str!("../../../scenarios/readindex.toml")),
    ("power-loss", include_str!("../../../scenarios/power-loss.toml")),
    ("compaction-crash", include_str!("../../../scenarios/compaction-crash.toml")),
    ("watch-progress", include_str!("../../../scenarios/watch-progress.toml")),
];

/// The text of a built-in scenario.
pub fn builtin(name: &str) -> Option<&'static str> {
    BUILTIN.into_iter().find(|(known, _)| *known == name).map(|(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_its_name_and_what_it_shows() {
        for (name, text) in BUILTIN {
            assert!(text.starts_with("# "), "{name} opens with what it shows");
            assert!(text.contains(&format!("name = \"{name}\"")), "{name} is called so");
            assert!(text.contains("description = \""), "{name} describes itself");
        }
        assert!(builtin("swarm").is_some() && builtin("nothing").is_none());
    }

    #[test]
    fn every_file_of_the_folder_is_in_the_binary() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");
        let mut files = 0;
        for entry in std::fs::read_dir(folder).expect("the folder is in the repository") {
            let name = entry.expect("a folder can be read").file_name().into_string().expect("names are ASCII");
            let stem = name.strip_suffix(".toml").expect("only scenarios are in the folder");
            assert!(builtin(stem).is_some(), "{name} is not listed");
            files += 1;
        }
        assert_eq!(files, BUILTIN.len());
    }
}
