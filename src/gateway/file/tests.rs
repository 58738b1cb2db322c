//! Files of Envoy's form: what changes in their bytes, and what does not.

use super::*;

/// An endpoint list with the keys `at` and `state`, as in the tests below.
fn control(path: &str) -> FileControl {
    FileControl {
        file: GatewayFile { host: Host::Local, path: path.into(), sudo: false },
        pool: "nodes".into(),
        find: |tree, pool, address| {
            let list = tree.path(&[pool], |name, wanted| name == wanted)?;
            let list = list.ok_or("no list")?;
            let mut found = Vec::new();
            for node in list.items()? {
                let at = node.entry(|name| name == "at")?;
                if at.and_then(|(_, at)| at.text()) == Some(address) {
                    found.push(node);
                }
            }
            if found.is_empty() { Err("no node".into()) } else { Ok(found) }
        },
        is_down: |node| {
            let state = node.entry(|name| name == "state")?;
            Ok(state.and_then(|(_, state)| state.text()) == Some("OUT"))
        },
        mark: |_, down| Ok(("state".into(), Written::Word(if down { "OUT" } else { "IN" }))),
    }
}

fn changed(path: &str, text: &str, down: bool) -> Result<String, String> {
    let reply = Reply { status: 200, body: text.into(), ..Reply::default() };
    control(path).changed(&reply, "a:1", down)
}

#[test]
fn only_the_bytes_of_the_value_change_in_json() {
    let odd = r#" {"big": 12345678901234567890123, "e": 1e2, "f": 1.50, "x": 1, "x": 2,
	"s": "\u00e9\/", "nodes": [ {"at": "b:1", "state":"IN"} , NODE ] }
"#;
    for (node, down, wanted) in [
        (
            r#"{"at": "a:1", "state" :  "IN", "w": 1e0}"#,
            true,
            r#"{"at": "a:1", "state" :  "OUT", "w": 1e0}"#,
        ),
        (r#"{"at": "a:1", "state": 7}"#, true, r#"{"at": "a:1", "state": "OUT"}"#),
        (r#"{"at":"a:1"}"#, true, r#"{"state": "OUT", "at":"a:1"}"#),
        ("{\n  \"at\": \"a:1\" }", true, "{ \"state\": \"OUT\",\n  \"at\": \"a:1\" }"),
        (r#"{"at": "a:1", "state": "OUT"}"#, false, r#"{"at": "a:1", "state": "IN"}"#),
    ] {
        let text = odd.replace("NODE", node);
        assert_eq!(changed("/f.json", &text, down), Ok(odd.replace("NODE", wanted)));
    }
}

#[test]
fn only_the_bytes_of_the_value_change_in_yaml() {
    for (text, down, wanted) in [
        // In blocks, with comments and characters of several bytes.
        (
            "# caf\u{e9}\nnodes:\n- at: b:1 # one\n- at: a:1 # two\n  state: IN # three\nx: 0x1F\n",
            true,
            "# caf\u{e9}\nnodes:\n- at: b:1 # one\n- at: a:1 # two\n  state: OUT # three\nx: 0x1F\n",
        ),
        ("nodes:\n- at: a:1\n", true, "nodes:\n- state: OUT\n  at: a:1\n"),
        ("nodes:\r\n  -   at: a:1\r\n", true, "nodes:\r\n  -   state: OUT\r\n      at: a:1\r\n"),
        ("nodes:\n-\n  at: a:1", true, "nodes:\n-\n  state: OUT\n  at: a:1"),
        ("nodes: [ { at: 'a:1' } ]", true, "nodes: [ { state: OUT, at: 'a:1' } ]"),
        ("nodes: [{at: a:1, state: \"OUT\"}]", false, "nodes: [{at: a:1, state: IN}]"),
        ("---\nnodes:\n- {at: a:1}\n...\n", true, "---\nnodes:\n- {state: OUT, at: a:1}\n...\n"),
        // A repetition elsewhere stays.
        (
            "x: &x { y: 1 }\nz: *x\nnodes: [{at: a:1}]",
            true,
            "x: &x { y: 1 }\nz: *x\nnodes: [{state: OUT, at: a:1}]",
        ),
    ] {
        assert_eq!(changed("/f.yaml", text, down).as_deref(), Ok(wanted));
    }
}

#[test]
fn every_entry_of_the_node_changes() {
    let text = "nodes:\n- at: a:1\n- at: b:1\n- at: a:1\n  state: IN\n";
    let wanted = "nodes:\n- state: OUT\n  at: a:1\n- at: b:1\n- at: a:1\n  state: OUT\n";
    assert_eq!(changed("/f.yml", text, true).as_deref(), Ok(wanted));
}

#[test]
fn what_cannot_be_changed_alone_is_refused_with_the_reason() {
    for (path, text, why) in [
        ("/f.json", r#"{"nodes":[{"at":"a:1","state":"IN","state":"OUT"}]}"#, "`state` twice"),
        ("/f.json", r#"{"nodes":[],"nodes":[{"at":"a:1"}]}"#, "`nodes` twice"),
        ("/f.json", "nodes: []", "not JSON"),
        ("/f.json", "nodes: []", "a YAML file is named `.yaml`"),
        ("/f.yaml", "nodes:\n- &n { at: a:1 }\n- *n\n", "by an anchor"),
        ("/f.yaml", "nodes: &n\n- at: a:1\nothers: *n\n", "by an anchor"),
        ("/f.yaml", "x: &n [ { at: a:1 } ]\nnodes: *n\n", "by an anchor"),
        ("/f.yaml", "x: &n { state: IN }\nnodes:\n- <<: *n\n  at: a:1\n", "merge key"),
        ("/f.yaml", "nodes: [{at: a:1}]\n---\nnodes: []\n", "a second document"),
        ("/f.yaml", "nodes: [{at: a:1", "not YAML: line "),
        ("/f.yaml", "nodes:\n- at: a:1\n  state:\n", "cannot be changed in place"),
        ("/f.yaml", "nodes:\n- at: a:1\n  state: |\n    IN\n", "cannot be changed in place"),
        ("/f.yaml", "", "no content"),
        ("/f.yaml", "nodes: [{at: b:1}]", "no node"),
    ] {
        let error = changed(path, text, true).expect_err(text);
        assert!(error.contains(why), "{text}: {error}");
    }
    let deep = "[".repeat(100);
    assert!(changed("/f.yaml", &deep, true).is_err());
    let wide = format!("nodes: [{}]", "1,".repeat(200_000));
    let error = changed("/f.yaml", &wide, true).expect_err("too many");
    assert!(error.contains("commas"), "{error}");
}

proptest::proptest! {
    #[test]
    fn no_file_makes_the_readers_panic(text in "(?s)[-a:1{}\\[\\],\\n &*<'\"|#\u{e9}]{0,60}") {
        let _ = changed("/f.yaml", &text, true);
        let _ = changed("/f.yaml", &format!("nodes:\n- at: a:1\n  {text}"), true);
    }
}
