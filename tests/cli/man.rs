//! The manual pages: one per command, valid for Debian's two readers, and true.

use std::collections::BTreeSet;
use std::process::Command;

use crate::suggested::parsed;
use crate::support::{Case, root, sources};

/// A page without its markup.
fn plain(page: &str) -> String {
    let mut text = page.replace("\\-", "-").replace("\\(aq", "'").replace("\\*(Aq", "'");
    for font in ["\\fB", "\\fI", "\\fR", "\\fP"] {
        text = text.replace(font, "");
    }
    text.replace("\\&", "").replace("\\\\", "\\")
}

fn page(words: &[&str]) -> String {
    let (page, stderr) = Case::new(&[]).exits(0, &[&["man"], words].concat());
    assert!(stderr.is_empty(), "{stderr}");
    plain(&page)
}

/// Every command, as its words.
fn commands() -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut index = 0;
    while let Some(words) = all.get(index).cloned() {
        let arguments: Vec<_> = words.iter().map(String::as_str).chain(["--help"]).collect();
        let (help, _) = Case::new(&[]).exits(0, &arguments);
        let listed = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
        let listed = listed.take_while(|line| !line.is_empty());
        for line in listed.filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
            let name = line.split_whitespace().next().expect("a name");
            if name != "help" {
                all.push([words.clone(), vec![name.to_owned()]].concat());
            }
        }
        index += 1;
    }
    all
}

#[test]
fn every_command_has_a_page_with_codes_and_examples() {
    let commands = commands();
    assert!(commands.len() > 12, "{commands:?}");
    for words in commands {
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let (page, name) = (page(&words), ["rollgate"].iter().chain(&words).copied());
        let name = name.collect::<Vec<_>>().join("-");
        assert!(page.contains(&format!(".SH NAME\n{name} - ")), "{page}");
        for section in ["SYNOPSIS", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"] {
            assert!(
                page.contains(&format!(".SH \"{section}\""))
                    || page.contains(&format!(".SH {section}")),
                "`{name}` has no {section}: add it to src/cli/man/sections.rs\n{page}"
            );
        }
        let examples = page.split("EXAMPLES").nth(1).expect("examples");
        assert!(examples.contains(&format!("rollgate {}", words.join(" "))), "{examples}");
        for line in examples.lines().filter(|line| line.starts_with("rollgate ")) {
            // Up to a pipe or a redirection.
            parsed(line.split(['|', '>']).next().unwrap_or_default());
        }
    }
}

#[test]
fn pages_are_valid_for_mandoc_and_man() {
    let case = Case::new(&[]);
    let (told, _) = case.exits(0, &["man", "--out", "a/man1"]);
    let pages: Vec<_> =
        std::fs::read_dir(case.folder().join("a/man1")).expect("a folder").flatten().collect();
    assert_eq!(told, format!("a/man1: {} pages\n", pages.len()));
    assert_eq!(pages.len(), commands().len());
    let mut lint = Command::new("mandoc");
    let lint =
        lint.args(["-Tlint", "-W", "warning"]).args(pages.iter().map(std::fs::DirEntry::path));
    let lint = lint.output().expect("mandoc runs");
    let text =
        String::from_utf8_lossy(&lint.stdout).into_owned() + &String::from_utf8_lossy(&lint.stderr);
    // Only release builds have a date. clap_mangen puts more space than needed before lists of values.
    let harmless =
        |line: &str| line.contains("missing date") || line.contains("skipping paragraph macro: br");
    let found: Vec<_> = text.lines().filter(|line| !harmless(line)).collect();
    assert!(found.is_empty(), "{found:#?}");
    for page in pages {
        let mut man = Command::new("man");
        let man = man.args(["--warnings", "-l"]).arg(page.path()).env("MANWIDTH", "80");
        let man = man.output().expect("man runs");
        let (text, stderr) =
            (String::from_utf8_lossy(&man.stdout), String::from_utf8_lossy(&man.stderr));
        assert!(man.status.success() && stderr.is_empty(), "{stderr}");
        assert!(
            text.contains("EXIT STATUS") && !text.contains('`') && !text.contains("\\f"),
            "{text}"
        );
    }
}

/// Replaces `[text](address)` by the text.
fn unlinked(text: &str) -> String {
    let mut parts = text.split('[');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |before, part| {
        let (shown, rest) = part.split_once("](").expect("a link");
        before + shown + rest.split_once(')').expect("its end").1
    })
}

#[test]
fn exit_codes_are_those_of_their_page() {
    let codes = std::fs::read_to_string(root().join("docs/exit-codes.md")).expect("the page");
    let pages = [page(&[]), page(&["status"])].concat();
    let mut count = 0;
    for row in codes.lines().filter(|line| line.starts_with("| ")) {
        let mut cells = row.trim_matches('|').split(" | ").map(str::trim);
        let (code, meaning) = (cells.next().expect("a code"), cells.next().expect("a meaning"));
        if code != "code" {
            let entry = format!(".TP\n{code}\n{}\n", unlinked(&meaning.replace('`', "")));
            assert!(pages.contains(&entry), "rollgate(1) lacks\n{entry}");
            count += 1;
        }
    }
    assert!(count >= 15, "{count}");
}

#[test]
fn variables_of_the_environment_are_those_that_are_read() {
    let page = page(&[]);
    let mut read = BTreeSet::new();
    for file in sources(&root().join("src")) {
        let text = std::fs::read_to_string(&file).expect("a source");
        let text = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        let literals = text.split('"').skip(1).step_by(2).map(str::to_owned);
        let is_name = |word: &String| {
            let name = ["CONSUL_", "ROLLGATE_", "GITHUB_STEP_", "GITLAB_", "JENKINS_"]
                .iter()
                .find_map(|start| word.strip_prefix(start));
            name.is_some_and(|rest| {
                rest.len() > 2 && rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
            })
        };
        read.extend(literals.filter(is_name));
    }
    // The scripts of the shells set it, and the build sets the others.
    for name in ["ROLLGATE_COMPLETE", "ROLLGATE_DATE", "ROLLGATE_VERSION"] {
        assert!(read.remove(name), "{name}");
    }
    assert!(read.len() > 10, "{read:?}");
    for name in read {
        assert!(page.contains(&name), "rollgate(1) does not document {name}");
    }
}

#[test]
fn unknown_command_is_refused() {
    let case = Case::new(&[]);
    let (_, stderr) = case.exits(2, &["man", "node", "outt"]);
    assert!(stderr.contains("there is no command `node outt`"), "{stderr}");
    assert!(stderr.contains("did you mean `node out`?"), "{stderr}");
    let (_, stderr) = case.exits(1, &["man", "--out", "/dev/null/x"]);
    assert!(stderr.contains("cannot write into /dev/null/x: Not a directory"), "{stderr}");
}
