//! Which module may use which: only lower layers, and no two files use each other.
//!
//! The test reads every path in the code, in `use` and elsewhere. A re-export counts as a use of the module that
//! defines the item.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::visit::Visit;
use syn::{Item, UseTree, Visibility};

use crate::support::{is_for_tests, root, sources};

/// The modules of `src/` from the bottom up: each may use those of the rows before it, and no others.
const LAYERS: &[&[&str]] = &[
    &["address", "mark", "secret", "shell"],
    &["text"],
    &["file", "json", "pattern", "period", "table", "template", "url"],
    &["foreign"],
    &["node"],
    &["release", "world"],
    &["consul", "diagnostic"],
    &["gateway", "lock"],
    &["holds", "journal", "playbook"],
    &["spec", "suggestions"],
    &["artifact", "health", "requests"],
    &["registry"],
    &["engine", "survey"],
    &["plan"],
    &["ops", "report"],
    &["cli"],
];

/// The names of a module, from the crate's root: `["engine", "steps"]`.
type Module = Vec<String>;

/// The files of a crate and the paths in them.
struct Modules {
    used: BTreeMap<Module, Vec<Module>>,
    /// The re-exports of a module, and their sources.
    exported: BTreeMap<Module, Module>,
}

impl Modules {
    /// Reads a crate's files.
    fn of(source: &Path) -> Self {
        let files = sources(source).into_iter().map(|file| (module(source, &file), file));
        let files: BTreeMap<_, _> = files.filter(|(_, file)| !file.ends_with("main.rs")).collect();
        let known: BTreeSet<_> = files.keys().cloned().collect();
        let (mut used, mut exported) = (BTreeMap::new(), BTreeMap::new());
        for (module, file) in files {
            let text = std::fs::read_to_string(&file).expect("a source");
            let parsed = syn::parse_file(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let mut paths =
                Paths { module: &module, known: &known, used: Vec::new(), exported: &mut exported };
            paths.visit_file(&parsed);
            let paths = paths.used;
            used.insert(module, paths);
        }
        Self { used, exported }
    }

    /// Returns the module that defines a path's item.
    fn defines(&self, path: &Module) -> Module {
        let mut path = path.clone();
        // A name may be re-exported more than once.
        for _ in 0..8 {
            let exported = (1..=path.len()).rev().find_map(|end| {
                let from = self.exported.get(&path[..end])?;
                (!self.used.contains_key(&path[..end])).then(|| [from, &path[end..]].concat())
            });
            match exported {
                Some(from) => path = from,
                None => break,
            }
        }
        while !self.used.contains_key(&path) {
            path.pop();
        }
        path
    }

    /// Which modules each module uses.
    fn edges(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let edges = self.used.iter().map(|(module, paths)| {
            let used = paths.iter().map(|path| self.defines(path));
            let used = used.filter(|used| !used.is_empty() && used != module);
            (module.clone(), used.collect())
        });
        edges.collect()
    }
}

/// The paths of one file.
struct Paths<'a> {
    module: &'a Module,
    known: &'a BTreeSet<Module>,
    used: Vec<Module>,
    exported: &'a mut BTreeMap<Module, Module>,
}

impl Paths<'_> {
    /// Returns a path from the crate's root, if it leads into the crate.
    fn absolute(&self, path: &[String]) -> Option<Module> {
        let supers = path.iter().take_while(|part| *part == "super").count();
        let first = path.first()?;
        let (base, rest) = match first.as_str() {
            "crate" => (&[][..], &path[1..]),
            "self" => (&self.module[..], &path[1..]),
            "super" => (&self.module[..self.module.len().checked_sub(supers)?], &path[supers..]),
            _ => (&self.module[..], path),
        };
        let whole = [base, rest].concat();
        let leads = matches!(first.as_str(), "crate" | "self" | "super")
            || self.known.contains(&[self.module, &path[..1]].concat());
        leads.then_some(whole)
    }

    fn tree(&mut self, tree: &UseTree, before: &[String], is_exported: bool) {
        let (named, known_as) = match tree {
            UseTree::Path(path) => {
                let before = [before, &[path.ident.to_string()]].concat();
                return self.tree(&path.tree, &before, is_exported);
            }
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.tree(tree, before, is_exported));
            }
            UseTree::Name(name) => (name.ident.to_string(), name.ident.to_string()),
            UseTree::Rename(rename) => (rename.ident.to_string(), rename.rename.to_string()),
            UseTree::Glob(_) => ("self".to_owned(), "self".to_owned()),
        };
        let path = if named == "self" { before.to_vec() } else { [before, &[named]].concat() };
        let Some(path) = self.absolute(&path) else { return };
        if is_exported && known_as != "self" {
            self.exported.insert([self.module, &[known_as][..]].concat(), path);
        } else {
            self.used.push(path);
        }
    }
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => return syn::visit::visit_item(self, item),
        };
        if !attributes.iter().any(is_for_tests) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&item.tree, &[], !matches!(item.vis, Visibility::Inherited));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<_> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        if parts.len() > 1 {
            self.used.extend(self.absolute(&parts));
        }
        syn::visit::visit_path(self, path);
    }
}

fn module(source: &Path, file: &Path) -> Module {
    let path = file.strip_prefix(source).expect("below the source").with_extension("");
    let mut parts: Vec<_> =
        path.iter().map(|part| part.to_str().expect("UTF-8").to_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod" || last == "lib") {
        parts.pop();
    }
    parts
}

/// Returns a cycle, if there is one.
fn cycle(edges: &BTreeMap<Module, BTreeSet<Module>>) -> Option<Vec<Module>> {
    let mut done = BTreeSet::new();
    let mut way = Vec::new();
    edges.keys().find_map(|module| walk(edges, module, &mut way, &mut done))
}

fn walk(
    edges: &BTreeMap<Module, BTreeSet<Module>>,
    module: &Module,
    way: &mut Vec<Module>,
    done: &mut BTreeSet<Module>,
) -> Option<Vec<Module>> {
    if let Some(begun) = way.iter().position(|before| before == module) {
        return Some([&way[begun..], std::slice::from_ref(module)].concat());
    }
    if done.contains(module) {
        return None;
    }
    way.push(module.clone());
    let found =
        edges.get(module).into_iter().flatten().find_map(|used| walk(edges, used, way, done));
    way.pop();
    done.insert(module.clone());
    found
}

fn told(modules: &[Module]) -> String {
    modules.iter().map(|module| module.join("/")).collect::<Vec<_>>().join(" -> ")
}

#[test]
fn no_files_need_each_other() {
    for source in ["src", "lab/src"] {
        let edges = Modules::of(&root().join(source)).edges();
        assert!(edges.len() > 20, "{source}: {} files", edges.len());
        let cycle = cycle(&edges);
        assert!(cycle.is_none(), "{source}: {}", told(&cycle.unwrap_or_default()));
    }
}

#[test]
fn modules_use_only_lower_layers() {
    let edges = Modules::of(&root().join("src")).edges();
    let layer = |module: &Module| {
        let name = module.first().expect("not the crate itself");
        let layer = LAYERS.iter().position(|layer| layer.contains(&name.as_str()));
        layer.unwrap_or_else(|| panic!("`{name}` has no place in LAYERS"))
    };
    for (module, used) in edges.iter().filter(|(module, _)| !module.is_empty()) {
        for used in used.iter().filter(|used| used[0] != module[0]) {
            assert!(layer(used) < layer(module), "{}", told(&[module.clone(), used.clone()]));
        }
    }
}

#[test]
fn reexported_paths_resolve_to_their_definition() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |file: &str, text: &str| {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    };
    write("lib.rs", "mod a;\nmod b;");
    write(
        "a/mod.rs",
        "mod one;\nmod two;\npub use one::Thing;\n#[cfg(test)]\nmod tests { use crate::b; }",
    );
    write("a/one.rs", "pub struct Thing;");
    write("a/two.rs", "use super::Thing;\nfn x() { crate::b::y() }");
    write("b.rs", "pub fn y() {}");
    let edges = |folder: &Path| Modules::of(folder).edges();
    let module = |name: &str| name.split('/').map(str::to_owned).collect::<Vec<_>>();
    let found = edges(folder.path());
    assert_eq!(found[&module("a/two")], [module("a/one"), module("b")].into());
    assert_eq!(found[&module("a")], [].into());
    assert_eq!(cycle(&found), None);
    write("b.rs", "use crate::a::two;");
    let found = cycle(&edges(folder.path())).expect("a cycle");
    assert_eq!(told(&found), "a/two -> b -> a/two");
}
