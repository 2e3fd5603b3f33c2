//! The rules of the code that a compiler does not check: which module may use which, and that every file opens with its duty.

mod guarantees;
mod imports;
mod wording;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use imports::Crate;

/// The modules from the bottom up. A module uses only modules on a line above its own.
const LAYERS: &[&[&str]] = &[
    &["model"],
    &["policy"],
    &["plan"],
    &["report", "config"],
    &["process"],
    &["registry", "runtime", "state"],
    &["gc"],
    &["run"],
    &["metrics"],
    &["http"],
    &["daemon"],
    &["telemetry"],
    &["cli"],
    &["fuzzing"],
];

/// What the core (up to `plan`) does not use: paths that begin so.
const NOT_IN_THE_CORE: &[&str] = &[
    "async",
    "dbg",
    "eprint",
    "eprintln",
    "print",
    "println",
    "reqwest",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio",
    "tracing",
];

/// A file of this many lines above its tests still has one duty.
const MAX_LINES: usize = 400;

/// The Rust files below a folder of the project.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

/// The library, parsed once.
fn library() -> &'static Crate {
    static LIBRARY: OnceLock<Crate> = OnceLock::new();
    LIBRARY.get_or_init(parse_library)
}

fn parse_library() -> Crate {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let name = |path: &Path| path.strip_prefix(&root).unwrap().display().to_string();
    let files: BTreeMap<String, String> =
        sources("src").into_iter().map(|(path, text)| (name(&path), text)).collect();
    Crate::parse(&files)
}

fn layer(module: &str) -> usize {
    let found = LAYERS.iter().position(|layer| layer.contains(&module));
    found.unwrap_or_else(|| panic!("{module} has no layer: give it one in LAYERS and in src/lib.rs"))
}

#[test]
fn modules_use_only_modules_below_them() {
    let library = library();
    let mut wrong = BTreeSet::new();
    for reference in library.references() {
        let Some(own) = reference.module.first() else { continue };
        let used = library.top_modules(&reference);
        let is_wrong = used.iter().any(|used| used != own && layer(used) >= layer(own));
        if is_wrong {
            wrong.insert(format!("{} uses {}", reference.module.join("::"), reference.path.join("::")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_have_no_import_cycles() {
    let library = library();
    let imports = library.file_imports();
    let cycles = library.cycles().into_iter().map(|group| {
        let names =
            group.iter().flat_map(|file| imports[file].iter().map(move |(to, name)| (file, to, name)));
        let inside = names.filter(|(_, to, _)| group.contains(*to));
        inside.map(|(file, to, name)| format!("{file} uses {name} of {to}\n")).collect::<String>()
    });
    let cycles: Vec<String> = cycles.collect();
    assert!(cycles.is_empty(), "{} cycles:\n{}", cycles.len(), cycles.join("\n"));
}

#[test]
fn core_does_no_io_and_reads_no_clock() {
    for reference in library().references() {
        let is_core = reference.module.first().is_some_and(|module| layer(module) <= layer("plan"));
        let path = reference.path.join("::");
        let is_forbidden = path.ends_with("::now")
            || NOT_IN_THE_CORE.iter().any(|no| path == *no || path.starts_with(&format!("{no}::")));
        assert!(
            !is_core || reference.is_test || !is_forbidden,
            "{} uses {path}",
            reference.module.join("::")
        );
    }
}

#[test]
fn every_file_opens_with_its_duty() {
    for folder in ["src", "tests", "examples"] {
        for (path, text) in sources(folder) {
            assert!(text.starts_with("//! "), "{} does not open with //!", path.display());
        }
    }
}

#[test]
fn files_stay_small() {
    for (path, text) in sources("src").into_iter().filter(|(path, _)| !path.ends_with("tests.rs")) {
        let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
        let lines = code.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines", path.display());
    }
}

#[test]
fn map_names_every_module() {
    let map = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    for module in LAYERS.iter().flat_map(|layer| layer.iter()) {
        assert!(map.contains(&format!("[`{module}`]")), "src/lib.rs does not say what {module} is for");
    }
}
