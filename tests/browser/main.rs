//! The page of `show --html` in a real browser: Chromium without a window, and axe-core.
//!
//! Pictures of the pages are in `target/browser`.

mod chrome;
mod journals;

use std::path::{Path, PathBuf};
use std::process::Command;

use chrome::{Chrome, Look, axe};
use rollgate::journal;
use rollgate::release::{Activity, Segment, Timeline};
use rollgate::text::duration;
use serde_json::Value;

const PLAYBOOK: &str = "service: app
registry: { type: gateway }
gateways: [{ type: haproxy, backend: app, socket: { path: /none.sock } }]
nodes: [{ ssh: local, name: app-1, address: '127.0.0.1:9000' }, { ssh: local, name: app-2, address: '127.0.0.2:9000' }]
stop: 'true'
start: 'true'
health: { tcp: '${{ node.address }}' }
";

const DESKTOP: Look = Look { width: 1280, is_dark: false, is_print: false };
const PHONE: Look = Look { width: 375, ..DESKTOP };
const DARK: Look = Look { is_dark: true, ..DESKTOP };
const PRINT: Look = Look { width: 794, is_print: true, ..DESKTOP };

/// A release's page in a folder of its own.
struct Made {
    _folder: tempfile::TempDir,
    path: PathBuf,
    text: String,
}

/// Writes the page of a journal with `show --html`.
fn page(journal: &str) -> Made {
    let folder = tempfile::tempdir().expect("a folder");
    let id = journal.split("\"release\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let state = folder.path().join(".rollgate/app").join(id.expect("an id"));
    std::fs::create_dir_all(&state).expect("a folder");
    std::fs::write(state.join("journal.jsonl"), journal).expect("a journal");
    std::fs::write(folder.path().join("app.yaml"), PLAYBOOK).expect("a playbook");
    let path = folder.path().join("page.html");
    let mut rollgate = Command::new(env!("CARGO_BIN_EXE_rollgate"));
    rollgate.args(["show", "app.yaml", "--html", "page.html"]).current_dir(folder.path());
    let output = rollgate.env_clear().env("TZ", "UTC").output().expect("rollgate runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(&path).expect("a page");
    Made { _folder: folder, path, text }
}

fn picture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/browser").join(format!("{name}.png"))
}

/// The serious findings of axe-core.
fn findings(chrome: &mut Chrome, axe: &str) -> Vec<String> {
    chrome.value(&format!("{axe};true"));
    let found = chrome.value(
        "axe.run().then(found => found.violations.filter(it => ['serious', 'critical'].includes(it.impact))
            .map(it => it.id + ': ' + it.nodes.slice(0, 3).map(node => node.html.slice(0, 200) + ' ' + node.failureSummary).join('; ')))",
    );
    let found = found.as_array().expect("a list").iter();
    found.map(|it| it.as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn page_is_accessible_and_fits_on_every_screen() {
    let mut chrome = Chrome::start();
    let axe = axe();
    let pages = [
        ("failed", journals::failed()),
        ("resumed", journals::resumed()),
        ("large", journals::large()),
    ];
    for (name, journal) in pages {
        let made = page(&journal);
        for (look, screen) in
            [(DESKTOP, "desktop"), (PHONE, "phone"), (DARK, "dark"), (PRINT, "print")]
        {
            let complaints = chrome.open(&made.path, look);
            assert!(complaints.is_empty(), "{name} {screen}: {complaints:?}");
            chrome.picture(&picture(&format!("{name}-{screen}")));
            let widest = chrome.value("document.documentElement.scrollWidth");
            assert!(widest.as_u64() <= Some(look.width.into()), "{name} {screen}: {widest}");
            // The rules are the same for 300 nodes, and take long.
            if name != "large" {
                let found = findings(&mut chrome, &axe);
                assert!(found.is_empty(), "{name} {screen}: {found:#?}");
            }
        }
    }
}

#[test]
fn page_of_300_nodes_is_small() {
    let made = page(&journals::large());
    assert!(made.text.len() < 1_500_000, "{} bytes", made.text.len());
    let mut chrome = Chrome::start();
    assert!(chrome.open(&made.path, DESKTOP).is_empty());
    assert_eq!(chrome.value("document.querySelectorAll('.group').length"), 12);
    let open = chrome.value(
        "[...document.querySelectorAll('.group[open] > summary')].map(it => it.innerText).join()",
    );
    assert!(open.as_str().is_some_and(|open| open.contains("app-126 to app-150")), "{open}");
    assert!(open.as_str().is_some_and(|open| open.contains("24 of 25 done")), "{open}");
}

/// The steps in the page, by node: `at`, `step`, `took`, and the bar's place and width.
const LANES: &str = "[...document.querySelectorAll('.lane')].map(lane => ({
    name: lane.querySelector('.name').childNodes[0].data.trim(),
    total: lane.querySelector('.total').textContent,
    rows: [...lane.querySelectorAll('tbody tr')].map(row => [...row.children].map(cell => cell.textContent)),
    bars: [...lane.querySelectorAll('rect:not(.bad)')].map(bar => [+bar.getAttribute('x'), +bar.getAttribute('width')]),
}))";

#[test]
fn lanes_and_times_are_those_of_the_journal() {
    let journal = journals::failed();
    let made = page(&journal);
    let (events, _) = journal::parse(journal.as_bytes(), "a journal").expect("a journal");
    let timeline = Timeline::of(&events);
    let mut chrome = Chrome::start();
    chrome.open(&made.path, DESKTOP);
    let lanes = chrome.value(LANES);
    let lanes = lanes.as_array().expect("lanes");
    assert_eq!(lanes.len(), timeline.nodes().len());
    let (begun, ended) = timeline.runs[0];
    let whole = ended.duration_since(begun).as_millis_f64();
    for (lane, name) in lanes.iter().zip(timeline.nodes()) {
        assert_eq!(lane["name"], name);
        let segments = timeline.segments(name).iter();
        let steps: Vec<&Segment> =
            segments.filter(|it| matches!(it.activity, Activity::Step(_))).collect();
        let total = timeline.parts(name, std::time::Duration::ZERO).total();
        assert_eq!(lane["total"], duration(total));
        let rows = lane["rows"].as_array().expect("rows").iter();
        let told: Vec<_> = rows.map(|row| (text(&row[0]), text(&row[1]), text(&row[2]))).collect();
        let bars = lane["bars"].as_array().expect("bars");
        assert_eq!(bars.len(), steps.len());
        for (step, bar) in steps.iter().zip(bars) {
            let Activity::Step(word) = step.activity else { continue };
            let at = step.from.strftime("%H:%M:%S").to_string();
            let row = (at, word.to_string(), duration(step.took()));
            assert!(told.contains(&row), "{row:?} is not in {told:?}");
            let place = step.from.duration_since(begun).as_millis_f64() / whole * 1000.0;
            let width = (step.took().as_secs_f64() * 1000.0 / whole * 1000.0).max(1.0);
            let (x, wide) = (number(&bar[0]), number(&bar[1]));
            assert!(
                (x - place).abs() < 0.2 && (wide - width).abs() < 0.2,
                "{bar} is not {place} {width}"
            );
        }
    }
    let rows = "[...document.querySelectorAll('#capacity tbody tr')].map(row => row.innerText)";
    let rows = chrome.value(rows);
    assert_eq!(rows.as_array().map(Vec::len), Some(timeline.capacity.len()), "{rows}");
    let why = chrome.value("document.querySelector('#result').innerText");
    for expected in
        ["app-2, health: not healthy within 90s", "connect timeout 10.0.9.5:5432", "HikariPool-1"]
    {
        assert!(text(&why).contains(expected), "{why}");
    }
}

#[test]
fn hostile_text_stays_text() {
    let made = page(&journals::hostile());
    let mut chrome = Chrome::start();
    let complaints = chrome.open(&made.path, DESKTOP);
    assert!(complaints.is_empty(), "{complaints:?}");
    chrome.picture(&picture("hostile"));
    assert_eq!(
        chrome.value("document.querySelectorAll('script, img, iframe, link, object').length"),
        0
    );
    assert_eq!(chrome.value("document.querySelectorAll('style').length"), 1);
    let handlers = "[...document.querySelectorAll('*')].filter(it => it.getAttributeNames().some(name => name.startsWith('on'))).length";
    assert_eq!(chrome.value(handlers), 0);
    assert_ne!(chrome.value("document.title"), "broken");
    let shown = chrome.value("document.body.textContent");
    assert!(text(&shown).contains("<script>document.title='broken'</script>"), "{shown}");
    assert!(text(&shown).contains("{{ 7*7 }}{% raw %}"), "{shown}");
    let harmful = |it: char| it != '\n' && rollgate::text::is_harmful(it);
    assert!(!made.text.contains(harmful), "no control character and no mark of direction");
}

/// A page is used with the keyboard alone: every node opens with Enter, and the focus can be seen.
#[test]
fn lanes_open_by_keyboard() {
    let made = page(&journals::failed());
    let mut chrome = Chrome::start();
    chrome.open(&made.path, DESKTOP);
    let open = "document.querySelectorAll('.lane[open]').length";
    assert_eq!(chrome.value(open), 1, "the failed node");
    chrome.value("document.querySelector('.lane:not([open]) > summary').focus()");
    for kind in ["rawKeyDown", "char", "keyUp"] {
        let key = serde_json::json!({
            "type": kind, "key": "Enter", "code": "Enter", "text": "\r", "windowsVirtualKeyCode": 13,
        });
        chrome.call("Input.dispatchKeyEvent", &key);
    }
    assert_eq!(chrome.value(open), 2);
    let outline = chrome.value("getComputedStyle(document.activeElement).outlineStyle");
    assert_eq!(outline, "solid");
}

/// On paper, every step of a small release is there.
#[test]
fn steps_are_printed() {
    let made = page(&journals::failed());
    let mut chrome = Chrome::start();
    chrome.open(&made.path, PRINT);
    let heights = chrome.value("[...document.querySelectorAll('.lane table')].map(it => it.checkVisibility({ contentVisibilityAuto: true }) ? it.getBoundingClientRect().height : 0)");
    let heights = heights.as_array().expect("heights");
    assert!(heights.len() == 2 && heights.iter().all(|it| it.as_f64() > Some(50.0)), "{heights:?}");
    let paper = chrome.call("Page.printToPDF", &serde_json::json!({ "printBackground": true }));
    assert!(text(&paper["data"]).len() > 10_000);
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}
