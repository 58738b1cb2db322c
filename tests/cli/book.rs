//! The documentation: links lead somewhere, commands are accepted, playbooks are valid, and nothing is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;
use rollgate::cli::Exit;
use rollgate::ops::Cause;
use rollgate::release::Outcome;

use crate::suggested::try_parsed;
use crate::support::{Case, root};

/// A block of a page between fences.
struct Block {
    language: String,
    text: String,
}

/// A page of the documentation.
struct Page {
    path: PathBuf,
    /// Without blocks.
    prose: String,
    blocks: Vec<Block>,
}

impl Page {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).expect("a page");
        let (mut prose, mut blocks) = (String::new(), Vec::new());
        let mut open: Option<Block> = None;
        for line in text.lines() {
            let fence = line.trim_start().strip_prefix("```");
            match (&mut open, fence) {
                (None, Some(language)) => {
                    open = Some(Block { language: language.trim().into(), text: String::new() });
                }
                (None, None) => prose += &format!("{line}\n"),
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(block), None) => block.text += &format!("{line}\n"),
            }
        }
        assert!(open.is_none(), "{}: a block does not end", path.display());
        Self { path, prose, blocks }
    }

    fn name(&self) -> String {
        self.path.strip_prefix(root()).expect("a page of the repository").display().to_string()
    }

    /// The names by which links find its headings.
    fn headings(&self) -> BTreeSet<String> {
        let mut seen = BTreeMap::<String, usize>::new();
        let headings = self.prose.lines().filter(|line| line.starts_with('#'));
        let slugs = headings.map(|line| slug(line.trim_start_matches('#').trim()));
        let numbered = slugs.map(|slug| {
            let count = seen.entry(slug.clone()).or_default();
            *count += 1;
            if *count == 1 { slug } else { format!("{slug}-{}", *count - 1) }
        });
        numbered.collect()
    }
}

/// The name of a heading in a link.
fn slug(heading: &str) -> String {
    let heading = Regex::new(r"\]\([^)]*\)").expect("a pattern").replace_all(heading, "");
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn markdown(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    let mut pages: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    pages.sort();
    pages
}

/// Every page for users and developers.
fn pages() -> Vec<Page> {
    let folders = [root().to_owned(), root().join("docs"), root().join("tests")];
    folders.iter().flat_map(|folder| markdown(folder)).map(Page::read).collect()
}

#[test]
fn links_lead_to_files_and_headings() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").expect("a pattern");
    // A link's text can be code, and code is no link.
    let code = Regex::new("`[^`]*`").expect("a pattern");
    let pages: BTreeMap<_, _> = pages().into_iter().map(|page| (page.path.clone(), page)).collect();
    let mut count = 0;
    for page in pages.values() {
        let prose = code.replace_all(&page.prose, "`");
        for target in link.captures_iter(&prose).map(|found| found[1].to_owned()) {
            if target.contains("://") {
                continue;
            }
            count += 1;
            let (file, heading) = target.split_once('#').unwrap_or((&target, ""));
            let folder = page.path.parent().expect("a folder");
            let path = if file.is_empty() { page.path.clone() } else { folder.join(file) };
            let found = path.canonicalize();
            let found = found.unwrap_or_else(|_| panic!("{}: no file {target}", page.name()));
            // mdBook turns such a link into one to a page that it does not write.
            let leaves = page.path.starts_with(root().join("docs")) && target.starts_with("../");
            assert!(
                !(leaves && Path::new(file).extension().is_some_and(|end| end == "md")),
                "{}: {target} is not in the book",
                page.name()
            );
            if heading.is_empty() {
                continue;
            }
            let other = pages.get(&found).unwrap_or_else(|| panic!("{}: {target}", page.name()));
            let headings = other.headings();
            assert!(
                headings.contains(heading),
                "{}: {target} is none of {headings:?}",
                page.name()
            );
        }
    }
    assert!(count > 100, "links were found");
}

#[test]
fn summary_names_every_page() {
    let docs = root().join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).expect("a summary");
    for page in markdown(&docs) {
        let name = page.file_name().expect("a name").to_string_lossy().into_owned();
        let is_named = summary.contains(&format!("]({name})"));
        assert!(is_named || name == "SUMMARY.md", "SUMMARY.md does not name {name}");
    }
    let book = fs::read_to_string(docs.join("book.toml")).expect("the settings of the book");
    assert!(book.contains("src = \".\""), "{book}");
}

/// A reader finds the two commands of a fresh machine at once, and the rest in the book.
#[test]
fn readme_is_short_and_begins_with_the_commands_of_a_fresh_machine() {
    let text = fs::read_to_string(root().join("README.md")).expect("a README");
    assert!(text.lines().count() <= 120, "{} lines", text.lines().count());
    let readme = Page::read(root().join("README.md"));
    let first = &readme.blocks[0];
    for script in ["scripts/demo", "scripts/test"] {
        assert!(first.text.lines().any(|line| line.starts_with(script)), "{}", first.text);
        assert!(root().join(script).exists());
    }
}

/// The commands of rollgate in a block, each as one line.
fn commands(block: &Block) -> Vec<String> {
    let mut commands = Vec::new();
    let separator = Regex::new(r"&&|\|\||[;|]|[<$]\(").expect("a pattern");
    let mut end: Option<String> = None;
    let joined = block.text.replace("\\\n", " ");
    for line in joined.lines() {
        // A file that a command reads from the lines below it.
        if let Some(word) = &end {
            if line == word {
                end = None;
            }
            continue;
        }
        end =
            line.split_once("<<'").and_then(|(_, rest)| Some(rest.split_once('\'')?.0.to_owned()));
        let line = match block.language.as_str() {
            "console" => line.strip_prefix("$ ").unwrap_or_default(),
            _ => line,
        };
        let line = line.split_once(" # ").map_or(line, |(command, _)| command);
        let parts =
            separator.split(line).map(str::trim).filter(|part| part.starts_with("rollgate "));
        commands.extend(parts.map(|part| part.split(['>', ')']).next().unwrap_or(part).to_owned()));
    }
    commands
}

#[test]
fn commands_on_the_pages_are_accepted() {
    let mut count = 0;
    for page in pages() {
        let shell = |block: &&Block| ["sh", "bash", "console"].contains(&block.language.as_str());
        for command in page.blocks.iter().filter(shell).flat_map(commands) {
            count += 1;
            if let Err(error) = try_parsed(&command) {
                panic!("{}: {command}\n{error}", page.name());
            }
        }
    }
    assert!(count > 30, "commands were found");
}

#[test]
fn playbooks_on_the_pages_are_valid() {
    let mut count = 0;
    for page in pages() {
        for block in page.blocks.iter().filter(|block| block.language == "yaml") {
            if block.text.lines().any(|line| line.starts_with("service:")) {
                count += 1;
                let case = Case::new(&[("app.yaml", block.text.as_bytes())]);
                case.exits(0, &["check", "app.yaml"]);
            }
        }
    }
    assert!(count > 0, "playbooks were found");
}

#[test]
fn every_exit_code_is_documented_and_no_other() {
    let outcomes = [
        Outcome::Done,
        Outcome::Nothing,
        Outcome::Refused,
        Outcome::Stopped,
        Outcome::Failed,
        Outcome::RolledBack,
        Outcome::LockLost,
        Outcome::Degraded,
    ];
    let causes = [
        Cause::Internal,
        Cause::Invalid,
        Cause::Refused,
        Cause::Locked,
        Cause::Stale,
        Cause::Stopped,
    ];
    let codes = outcomes.map(Outcome::exit_code).into_iter();
    let codes = codes.chain(causes.map(Cause::exit_code)).chain([Exit::CHANGES.0]);
    // Of a second signal.
    let codes: BTreeSet<_> = codes.chain([130, 143]).collect();
    let row = Regex::new(r"(?m)^\| ([\d, ]+) \|").expect("a pattern");
    let listed = |text: &str| -> BTreeSet<u8> {
        let cells = row.captures_iter(text).map(|row| row[1].to_owned()).collect::<Vec<_>>();
        cells
            .iter()
            .flat_map(|cell| cell.split(", "))
            .map(|code| code.parse().expect("a code"))
            .collect()
    };
    let read = |page: &str| Page::read(root().join("docs").join(page)).prose;
    let page = read("exit-codes.md");
    let (first, second) = page.split_once("\n## ").expect("two tables");
    assert_eq!(listed(first), codes);
    assert_eq!(listed(second), BTreeSet::from([0, 1, 2, 3]));
    // What to do at each code.
    let recovery = read("recovery.md").replace(['*', '['], "");
    let recovery = Regex::new(r"\]\([^)]*\)").expect("a pattern").replace_all(&recovery, "");
    let (_, recovery) = recovery.split_once("## By exit code").expect("the table");
    assert_eq!(listed(recovery.split("\n## ").next().unwrap_or_default()), codes);
}
