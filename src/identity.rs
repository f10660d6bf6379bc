//! Which build this is: what a repro file is compared with.

/// The version of the package.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A fingerprint of the sources of this build, committed or not.
pub(crate) const SOURCE: &str = env!("DETCD_SOURCE");

/// The git commit of this build, when it was known.
pub(crate) fn commit() -> Option<&'static str> {
    Some(env!("DETCD_COMMIT")).filter(|commit| !commit.is_empty())
}
