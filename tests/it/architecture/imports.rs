//! Which file uses which: the sources as modules, the names in them resolved to the files that define them.
//!
//! It reads the token trees that `syn` gives, so a path counts wherever it stands, in macros too. It does not know
//! types: a method call names no file.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Item, ItemUse, UseTree, Visibility};

/// The names from the crate's root to a module; empty for the root itself.
pub(super) type ModulePath = Vec<String>;

/// All modules of a crate.
#[derive(Default)]
pub(super) struct Crate {
    modules: BTreeMap<ModulePath, Module>,
}

#[derive(Default)]
struct Module {
    /// Below `src`, such as `plan/age.rs`; of a module in braces the file that it stands in.
    file: String,
    children: BTreeSet<String>,
    items: BTreeSet<String>,
    /// Names inside calls of macros, which may define them.
    macro_names: BTreeSet<String>,
    uses: Vec<Use>,
    /// The paths in everything but the `use` items at its top and its child modules.
    paths: Vec<WrittenPath>,
}

struct WrittenPath {
    names: Vec<String>,
    is_test: bool,
}

/// One name that a `use` item brings in.
struct Use {
    /// `None` for a glob.
    name: Option<String>,
    path: Vec<String>,
    is_reexport: bool,
    is_test: bool,
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Module(ModulePath),
    /// An item of this module.
    Item(ModulePath),
}

/// One path in the code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reference {
    /// The module that it stands in.
    pub(super) module: ModulePath,
    /// What is written there.
    pub(super) path: Vec<String>,
    /// Whether it stands in code that is compiled for unit tests only.
    pub(super) is_test: bool,
    /// Whether it is a `pub use`, which makes no use of what it names.
    pub(super) is_reexport: bool,
    /// What it leads to, if that is in this crate.
    target: Option<Target>,
}

impl Crate {
    /// Parses a crate from its files below `src`, beginning with `lib.rs`.
    pub(super) fn parse(files: &BTreeMap<String, String>) -> Self {
        let mut found = Self::default();
        found.add_file(files, Vec::new(), "lib.rs", false);
        found
    }

    fn add_file(&mut self, files: &BTreeMap<String, String>, path: ModulePath, file: &str, is_test: bool) {
        let text = files.get(file).unwrap_or_else(|| panic!("there is no {file}"));
        let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        self.add_module(files, path, file, is_test, parsed.items);
    }

    fn add_module(
        &mut self,
        files: &BTreeMap<String, String>,
        path: ModulePath,
        file: &str,
        is_test: bool,
        items: Vec<Item>,
    ) {
        let mut module = Module { file: file.to_owned(), ..Module::default() };
        for item in items {
            let is_test = is_test || is_for_tests(&item);
            match item {
                Item::Mod(child) => {
                    let name = child.ident.to_string();
                    let inner = [&path[..], std::slice::from_ref(&name)].concat();
                    module.children.insert(name);
                    match child.content {
                        Some((_, items)) => self.add_module(files, inner, file, is_test, items),
                        None => {
                            self.add_file(files, inner.clone(), &format!("{}.rs", inner.join("/")), is_test)
                        }
                    }
                }
                Item::Use(item) => module.uses.extend(names_of(&item, is_test)),
                item => {
                    match &item {
                        Item::Macro(call) if call.ident.is_none() => {
                            collect_names(call.mac.tokens.clone(), &mut module.macro_names);
                        }
                        item => module.items.extend(name_of(item)),
                    }
                    let mut inner = Inner::default();
                    inner.read(item.into_token_stream());
                    let local =
                        inner.uses.iter().flat_map(|item| names_of(item, is_test)).map(|one| one.path);
                    let names = inner.paths.into_iter().chain(local);
                    module.paths.extend(names.map(|names| WrittenPath { names, is_test }));
                }
            }
        }
        self.modules.insert(path, module);
    }

    /// Every path in the code, wherever it stands.
    pub(super) fn references(&self) -> BTreeSet<Reference> {
        let mut found = BTreeSet::new();
        for (module, content) in &self.modules {
            let paths = content.paths.iter().map(|one| (one.names.clone(), one.is_test, false));
            let uses = content.uses.iter().map(|one| (one.path.clone(), one.is_test, one.is_reexport));
            for (path, is_test, is_reexport) in paths.chain(uses) {
                let target = self.resolve(module, &path, &mut Vec::new());
                let is_ours = ["crate", "super", "self"].contains(&path[0].as_str()) && path.len() > 1;
                assert!(target.is_some() || !is_ours, "{}: {} leads nowhere", content.file, path.join("::"));
                found.insert(Reference { module: module.clone(), path, is_test, is_reexport, target });
            }
        }
        found
    }

    /// The modules of the first level that a path leads through and to.
    pub(super) fn top_modules(&self, reference: &Reference) -> BTreeSet<String> {
        let Some(Target::Module(to) | Target::Item(to)) = &reference.target else { return BTreeSet::new() };
        let through = absolute(&reference.module, &reference.path);
        [through.first(), to.first()].into_iter().flatten().cloned().collect()
    }

    /// The files that each file needs, with one name for which it needs them. Code for unit tests does not count.
    pub(super) fn file_imports(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut imports: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for reference in self.references() {
            let Some(Target::Item(to)) = &reference.target else { continue };
            let (from, to) = (&self.modules[&reference.module].file, &self.modules[to].file);
            if from != to && !reference.is_test && !reference.is_reexport {
                let needed = imports.entry(from.clone()).or_default();
                needed.entry(to.clone()).or_insert_with(|| reference.path.join("::"));
            }
        }
        imports
    }

    /// Each group of files of which every one needs, in the end, every other.
    pub(super) fn cycles(&self) -> Vec<BTreeSet<String>> {
        let imports = self.file_imports();
        let reached = |start: &String| {
            let mut reached = BTreeSet::new();
            let mut open = vec![start];
            while let Some(file) = open.pop() {
                for next in imports.get(file).into_iter().flat_map(BTreeMap::keys) {
                    if reached.insert(next.clone()) {
                        open.push(next);
                    }
                }
            }
            reached
        };
        let all: BTreeMap<&String, BTreeSet<String>> =
            imports.keys().map(|file| (file, reached(file))).collect();
        let group = |file: &String| -> BTreeSet<String> {
            all[file]
                .iter()
                .filter(|other| all.get(other).is_some_and(|back| back.contains(file)))
                .cloned()
                .collect()
        };
        let groups: BTreeSet<BTreeSet<String>> =
            imports.keys().map(group).filter(|group| !group.is_empty()).collect();
        groups.into_iter().collect()
    }

    /// `open` has the names that are being looked up, so that globs which lead back have an end.
    fn resolve(
        &self,
        from: &ModulePath,
        path: &[String],
        open: &mut Vec<(ModulePath, String)>,
    ) -> Option<Target> {
        let above = |module: &ModulePath| Target::Module(module[..module.len() - 1].to_vec());
        let mut target = match path[0].as_str() {
            "crate" => Target::Module(Vec::new()),
            "self" => Target::Module(from.clone()),
            "super" => above(from),
            name => self.look_up(from, name, open)?,
        };
        for name in &path[1..] {
            let Target::Module(module) = &target else { return Some(target) };
            target = match name.as_str() {
                "super" => above(module),
                name => self.look_up(module, name, open)?,
            };
        }
        Some(target)
    }

    fn look_up(&self, path: &ModulePath, name: &str, open: &mut Vec<(ModulePath, String)>) -> Option<Target> {
        let wanted = (path.clone(), name.to_owned());
        if open.contains(&wanted) {
            return None;
        }
        open.push(wanted);
        let found = self.look_up_in(path, name, open);
        open.pop();
        found
    }

    fn look_up_in(
        &self,
        path: &ModulePath,
        name: &str,
        open: &mut Vec<(ModulePath, String)>,
    ) -> Option<Target> {
        let module = &self.modules[path];
        if module.items.contains(name) {
            return Some(Target::Item(path.clone()));
        }
        if module.children.contains(name) {
            return Some(Target::Module([&path[..], &[name.to_owned()]].concat()));
        }
        let mut named = module.uses.iter().filter(|one| one.name.as_deref() == Some(name));
        if let Some(found) = named.find_map(|one| self.resolve(path, &one.path, open)) {
            return Some(found);
        }
        let mut globs = module.uses.iter().filter(|one| one.name.is_none());
        let in_glob = globs.find_map(|one| match self.resolve(path, &one.path, open)? {
            Target::Module(to) => self.look_up(&to, name, open),
            Target::Item(_) => None,
        });
        in_glob.or_else(|| module.macro_names.contains(name).then(|| Target::Item(path.clone())))
    }
}

/// The names from the root to a path that begins with `crate`, `super` or `self`; else what was written.
fn absolute(from: &ModulePath, written: &[String]) -> Vec<String> {
    let mut base = match written[0].as_str() {
        "crate" => Vec::new(),
        "super" | "self" => from.clone(),
        _ => return Vec::new(),
    };
    for name in written {
        match name.as_str() {
            "crate" | "self" => {}
            "super" => drop(base.pop()),
            name => base.push(name.to_owned()),
        }
    }
    base
}

/// Whether an item is compiled for unit tests only.
fn is_for_tests(item: &Item) -> bool {
    let attributes = match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => return false,
    };
    attributes.iter().any(|one| one.to_token_stream().to_string().replace(' ', "") == "#[cfg(test)]")
}

fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

fn names_of(item: &ItemUse, is_test: bool) -> Vec<Use> {
    let is_reexport = !matches!(item.vis, Visibility::Inherited);
    let mut found = Vec::new();
    flatten(&item.tree, &[], &mut |name, path| found.push(Use { name, path, is_reexport, is_test }));
    found
}

/// Each name of a tree of imports with its whole path.
fn flatten(tree: &UseTree, before: &[String], found: &mut impl FnMut(Option<String>, Vec<String>)) {
    let with = |name: &dyn ToString| [before, &[name.to_string()]].concat();
    match tree {
        UseTree::Path(path) => flatten(&path.tree, &with(&path.ident), found),
        // `use a::b::{self}` names b.
        UseTree::Name(name) if name.ident == "self" => found(before.last().cloned(), before.to_vec()),
        UseTree::Name(name) => found(Some(name.ident.to_string()), with(&name.ident)),
        UseTree::Rename(name) if name.ident == "self" => {
            found(Some(name.rename.to_string()), before.to_vec())
        }
        UseTree::Rename(name) => found(Some(name.rename.to_string()), with(&name.ident)),
        UseTree::Glob(_) => found(None, before.to_vec()),
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, before, found)),
    }
}

fn collect_names(tokens: TokenStream, found: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(name) => drop(found.insert(name.to_string())),
            TokenTree::Group(group) => collect_names(group.stream(), found),
            _ => {}
        }
    }
}

/// The paths and the imports inside functions, types and macros.
#[derive(Default)]
struct Inner {
    paths: Vec<Vec<String>>,
    uses: Vec<ItemUse>,
}

impl Inner {
    fn read(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is_punct = |position: usize, punct: char| matches!(tokens.get(position), Some(TokenTree::Punct(found)) if found.as_char() == punct);
        let is_colons = |position: usize| is_punct(position, ':') && is_punct(position + 1, ':');
        let mut position = 0;
        while position < tokens.len() {
            match &tokens[position] {
                TokenTree::Group(group) => self.read(group.stream()),
                TokenTree::Ident(name) if name == "use" => {
                    let end =
                        (position..tokens.len()).find(|end| is_punct(*end, ';')).unwrap_or(tokens.len() - 1);
                    let item = tokens[position..=end].iter().cloned().collect();
                    self.uses.extend(syn::parse2::<ItemUse>(item));
                    position = end;
                }
                TokenTree::Ident(first) => {
                    let begin = position;
                    let mut path = vec![first.to_string()];
                    while is_colons(position + 1)
                        && let Some(TokenTree::Ident(next)) = tokens.get(position + 3)
                    {
                        path.push(next.to_string());
                        position += 3;
                    }
                    let before = |mark: char, back: usize| begin >= back && is_punct(begin - back, mark);
                    // Not a field or a method, what follows `>::`, a macro's variable, or a lifetime.
                    let is_start = match () {
                        () if before('.', 1) => before('.', 2),
                        () if before(':', 1) => !before(':', 2),
                        () if before('$', 1) => path[0] == "crate",
                        () => !before('\'', 1),
                    };
                    let is_label =
                        path.len() == 1 && is_punct(position + 1, ':') && !is_punct(position + 2, ':');
                    if is_start && !is_label && path != ["_"] {
                        self.paths.push(path);
                    }
                }
                _ => {}
            }
            position += 1;
        }
    }
}

/// A crate of these invented files.
fn invented(files: &[(&str, &str)]) -> Crate {
    let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    Crate::parse(&files.collect())
}

/// The cycles between these invented files, each as the names of its files.
fn cycles(files: &[(&str, &str)]) -> Vec<String> {
    let groups = invented(files).cycles();
    groups.into_iter().map(|group| group.into_iter().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn files_that_use_each_other_are_a_cycle() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "pub struct B; fn b() { let _ = super::c::C; }"),
        ("c.rs", "use crate::a; pub struct C; fn c(_: &a::A) {}"),
    ];
    assert_eq!(cycles(&files), ["a.rs b.rs c.rs"]);
    let straight = [files[0], files[1], files[2], ("c.rs", "pub struct C;")];
    assert_eq!(cycles(&straight), [""; 0]);
}

#[test]
fn parent_and_child_that_use_each_other_are_a_cycle() {
    let child = ("a/child.rs", "use super::Shared; pub fn run(_: Shared) {}");
    for parent in [
        "mod child; pub struct Shared; use child::run;",
        "mod child; pub struct Shared; fn f() { child::run(Shared) }",
        "mod child; pub struct Shared; pub use child::run; fn f() { run(Shared) }",
        "mod child; pub struct Shared; fn f() { use self::child::run as start; start(Shared) }",
        "mod child; pub struct Shared; fn f() { assert!(true, child::run(Shared)) }",
        "mod child; pub struct Shared; use child::*; fn f() { run(Shared) }",
    ] {
        assert_eq!(cycles(&[("lib.rs", "mod a;"), ("a.rs", parent), child]), ["a.rs a/child.rs"], "{parent}");
    }
}

#[test]
fn parent_that_only_exports_is_no_cycle() {
    let parent = "mod one; mod two; pub use one::One; pub(crate) use two::{Two, two as other};";
    let files = [
        ("lib.rs", "mod a;"),
        ("a.rs", parent),
        ("a/one.rs", "pub struct One;"),
        ("a/two.rs", "use super::One; pub struct Two(One); pub fn two() {}"),
    ];
    assert_eq!(cycles(&files), [""; 0]);
    let imports = invented(&files).file_imports();
    assert_eq!(imports["a/two.rs"].keys().collect::<Vec<_>>(), ["a/one.rs"]);
    assert_eq!(imports.len(), 1);
}

#[test]
fn code_for_unit_tests_makes_no_cycle() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        (
            "a.rs",
            "pub struct A; #[cfg(test)] mod tests { use crate::b::B; use super::*; fn t(_: A, _: B) {} }",
        ),
        ("b.rs", "use crate::a::A; pub struct B(A); #[cfg(test)] mod tests;"),
        ("b/tests.rs", "use super::B;"),
    ];
    assert_eq!(cycles(&files), [""; 0]);
}

#[test]
fn names_of_fields_labels_methods_and_lifetimes_are_no_paths() {
    let files = [
        ("lib.rs", "mod a;"),
        (
            "a.rs",
            "mod b; pub use b::run; pub struct A { run: u8 } fn f<'run>(a: &'run A) -> u8 { a.run(); a.run }",
        ),
        ("a/b.rs", "use super::A; pub fn run(_: A) {}"),
    ];
    assert_eq!(cycles(&files), [""; 0]);
}

#[test]
fn definitions_of_macros_are_found() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "macro_rules! name { ($name:ident) => { pub struct $name; } } name!(Made);"),
        ("b.rs", "fn f(_: crate::a::Made) {}"),
    ];
    assert_eq!(invented(&files).file_imports()["b.rs"]["a.rs"], "crate::a::Made");
}
