//! Every text that rollgate can show, on one page: `tests/snapshots/messages.txt`.
//!
//! The page has the help of each command, and each text of two words and more in the code, by file. So it also shows
//! the messages that no other test reaches. `UPDATE=1` writes the page.

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;
use syn::{Attribute, Expr, Item, Lit};

use crate::generated::assert_current;
use crate::support::{Case, is_for_tests, root, sources};

/// Macros whose text only a defect of rollgate shows.
const DEFECTS: [&str; 8] =
    ["assert", "assert_eq", "assert_ne", "debug_assert", "matches", "panic", "todo", "unreachable"];

/// Commands whose help is on the page.
const COMMANDS: [&[&str]; 20] = [
    &[],
    &["init"],
    &["check"],
    &["doctor"],
    &["plan"],
    &["deploy"],
    &["resume"],
    &["rollback"],
    &["status"],
    &["history"],
    &["show"],
    &["node"],
    &["node", "out"],
    &["node", "in"],
    &["lock"],
    &["lock", "show"],
    &["lock", "break"],
    &["schema"],
    &["completions"],
    &["man"],
];

/// The texts of one file, in their order.
#[derive(Default)]
struct Texts(Vec<String>);

impl Texts {
    fn take(&mut self, text: &str) {
        if is_sentence(text) {
            self.0.push(text.replace('\n', "⏎"));
        }
    }

    fn tokens(&mut self, tokens: TokenStream) {
        let mut before = String::new();
        for token in tokens {
            match token {
                TokenTree::Group(group) if before != "expect" && before != "expect_err" => {
                    self.tokens(group.stream());
                }
                TokenTree::Group(_) | TokenTree::Punct(_) => {}
                TokenTree::Ident(name) => {
                    before = name.to_string();
                    continue;
                }
                TokenTree::Literal(literal) => {
                    if let Ok(Lit::Str(text)) = syn::parse_str(&literal.to_string()) {
                        self.take(&text.value());
                    }
                }
            }
            before.clear();
        }
    }
}

impl<'ast> Visit<'ast> for Texts {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => return syn::visit::visit_item(self, item),
        };
        if !attributes.iter().any(is_for_tests) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        // The derive macro makes the text of an error from it; documentation is left out.
        if attribute.path().is_ident("error")
            && let Ok(list) = attribute.meta.require_list()
        {
            self.tokens(list.tokens.clone());
        }
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let name = call.path.segments.last().map(|part| part.ident.to_string());
        if !name.is_some_and(|name| DEFECTS.contains(&name.as_str())) {
            self.tokens(call.tokens.clone());
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if call.method == "expect" || call.method == "expect_err" {
            return self.visit_expr(&call.receiver);
        }
        syn::visit::visit_expr_method_call(self, call);
    }

    fn visit_expr(&mut self, expression: &'ast Expr) {
        if let Expr::Lit(literal) = expression
            && let Lit::Str(text) = &literal.lit
        {
            self.take(&text.value());
        }
        syn::visit::visit_expr(self, expression);
    }
}

/// Whether a text is more than a name, a key, a path or a command.
fn is_sentence(text: &str) -> bool {
    let outside: String =
        text.split('{').map(|part| part.rsplit('}').next().unwrap_or("")).collect();
    let is_word = |word: &&str| {
        let word = word.trim_matches(|letter: char| !letter.is_alphanumeric());
        word.len() > 1 && word.chars().all(|letter| letter.is_alphabetic() || "-'".contains(letter))
    };
    outside.split_whitespace().filter(is_word).count() > 1
}

#[test]
fn messages_page_lists_every_text() {
    let mut page = String::from(
        "Every text of two words and more in the sources: what rollgate shows, and a few that it only sends or\n\
         looks for. Written by tests/cli/messages.rs.\n",
    );
    for command in COMMANDS {
        let arguments = [command, &["--help"]].concat();
        let (help, _) = Case::new(&[]).exits(0, &arguments);
        // Options that every command has are listed once.
        let own = help.find("      --output <FORM>").filter(|_| !command.is_empty());
        let help = own.map_or(help.as_str(), |end| help[..end].trim_end());
        page += &format!("\n== rollgate {}\n\n{}\n", arguments.join(" "), help.trim_end());
    }
    let source = root().join("src");
    for file in sources(&source) {
        let text = std::fs::read_to_string(&file).expect("a source");
        let mut texts = Texts::default();
        texts.visit_file(&syn::parse_file(&text).expect("Rust"));
        if texts.0.is_empty() {
            continue;
        }
        let name = file.strip_prefix(root()).expect("below the root").display();
        page += &format!("\n== {name}\n\n{}\n", texts.0.join("\n"));
    }
    std::fs::create_dir_all(root().join("tests/snapshots")).expect("a folder");
    assert_current(&root().join("tests/snapshots/messages.txt"), &page);
}

#[test]
fn scanner_finds_texts_of_every_form_but_not_those_of_defects() {
    let code = r#"
        /// Not this one.
        #[error("the first {0} text")]
        struct Error(String);
        fn show() -> String {
            let all = [format!("the second {} text", one.expect("no such text")), CONST.to_owned()];
            if all.is_empty() { panic!("none of it all") }
            all.join("\n").expect("no such text here")
        }
        const CONST: &str = "the third text";
        const KEY: &str = "key_of_json";
        #[cfg(test)]
        mod tests { const X: &str = "only for tests"; }
    "#;
    let mut texts = Texts::default();
    texts.visit_file(&syn::parse_file(code).expect("Rust"));
    assert_eq!(texts.0, ["the first {0} text", "the second {} text", "the third text"]);
}
