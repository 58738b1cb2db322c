//! Recorded answers of several versions: three servers of which one is checked; one drained and one in maintenance, each
//! with two requests; of 2.6 also the same after all three services have ended. `master` is what the socket of a master
//! process answers.

use super::*;
use crate::gateway::Peer;
use crate::gateway::drivers::readings::Readings as _;

/// A recorded file of a version.
macro_rules! file {
    ($version:literal, $file:literal) => {
        include_str!(concat!("../../../../tests/fixtures/gateway/haproxy/", $version, "/", $file))
    };
}

/// The version, and its answers with every server up and with two out, by the runtime API and by the stats page.
macro_rules! recorded {
    ($version:literal) => {
        (
            $version,
            [file!($version, "runtime-up.txt"), file!($version, "runtime-out.txt")],
            [file!($version, "page-up.csv"), file!($version, "page-out.csv")],
        )
    };
}

const VERSIONS: [(&str, [&str; 2], [&str; 2]); 11] = [
    recorded!("1.8.0"),
    recorded!("2.2.9"),
    recorded!("2.6.12"),
    recorded!("2.7.0"),
    recorded!("2.8.25"),
    recorded!("2.9.0"),
    recorded!("3.0.11"),
    recorded!("3.1.0"),
    recorded!("3.2.26"),
    recorded!("3.3.0"),
    recorded!("3.4.7"),
];

const RUNTIME_UP: &str = file!("2.6.12", "runtime-up.txt");
const RUNTIME_OUT: &str = file!("2.6.12", "runtime-out.txt");
const RUNTIME_DEAD: &str = file!("2.6.12", "runtime-dead.txt");
const PAGE_UP: &str = file!("2.6.12", "page-up.csv");
const PAGE_OUT: &str = file!("2.6.12", "page-out.csv");
const PAGE_DEAD: &str = file!("2.6.12", "page-dead.csv");
const HTML: &str = "<b>pid = </b> 25314 (process #1, nbproc = 1, nbthread = 2)<br>";

const S1: &str = "127.0.0.1:19001";
const S2: &str = "127.0.0.1:19002";
const S3: &str = "127.0.0.1:19003";

fn haproxy(settings: &str) -> HaproxyDriver {
    HaproxyDriver::new(&serde_json::from_str(settings).expect("settings"), Nodes::default())
}

fn runtime() -> HaproxyDriver {
    haproxy(r#"{"backend":"app","tcp":"10.0.0.1:9999"}"#)
}

fn page() -> HaproxyDriver {
    haproxy(r#"{"backend":"app","stats_url":"http://10.0.0.1/stats"}"#)
}

fn maint() -> HaproxyDriver {
    haproxy(r#"{"backend":"app","tcp":"10.0.0.1:9999","state":"maint"}"#)
}

fn reply(text: &str) -> Reply {
    Reply { status: 200, body: text.into(), ..Reply::default() }
}

fn read(haproxy: &HaproxyDriver, text: &str) -> Result<View, String> {
    haproxy.read(&[reply(text)])
}

fn is_down(haproxy: &HaproxyDriver, text: &str, address: &str) -> Result<bool, String> {
    haproxy.is_down(&[reply(text), reply(HTML)], address)
}

fn peer(up: bool, failing_check: bool, in_flight: u64) -> Peer {
    Peer { up, failing_check, in_flight: Some(in_flight) }
}

#[test]
fn every_version_from_1_8_shows_who_is_out_and_who_is_busy() {
    for (version, [runtime_up, runtime_out], [page_up, page_out]) in VERSIONS {
        for (haproxy, up, out) in [(maint(), runtime_up, runtime_out), (page(), page_up, page_out)]
        {
            let view = read(&haproxy, up).unwrap_or_else(|error| panic!("{version}: {error}"));
            let peers = [S1, S2, S3].map(|server| view.peers[server]);
            assert_eq!(peers, [peer(true, false, 0); 3], "{version}");
            let view = read(&haproxy, out).unwrap_or_else(|error| panic!("{version}: {error}"));
            let peers = [S1, S2, S3].map(|server| view.peers[server]);
            let drained = peer(true, true, 2);
            assert_eq!(peers, [drained, peer(false, false, 2), peer(true, false, 2)], "{version}");
            assert_eq!(is_down(&haproxy, up, S2), Ok(false), "{version}");
            assert_eq!(is_down(&haproxy, out, S2), Ok(true), "{version}");
        }
        let view = read(&runtime(), runtime_out).expect("readable");
        assert_eq!([S1, S2, S3].map(|server| view.is_out(server)), [true, true, false]);
        let is = runtime().info(&[reply(runtime_up)]).is;
        assert!(is.starts_with(&format!("HAProxy {version}")), "{is}");
    }
}

/// HAProxy 1.8 has no column `srvrecord`; DNS that has given a server its name shows as a flag.
#[test]
fn server_of_1_8_with_a_name_from_dns_is_not_changed() {
    let [up, _] = VERSIONS[0].1;
    let named = up.replace(" - 19001\n", " app-1.internal 19001\n");
    assert_eq!(is_down(&runtime(), &named, S1), Ok(false), "the configuration has the name");
    let text = named.replace("1 s1 127.0.0.1 2 0", "1 s1 127.0.0.1 2 64");
    let error = is_down(&runtime(), &text, S1).expect_err("it may be another node");
    assert!(error.contains("from DNS (app-1.internal)"), "{error}");
}

#[test]
fn version_that_shows_no_ports_is_refused_by_its_name() {
    let [up, _] = VERSIONS[0].1;
    let text = up.replace(" srv_fqdn srv_port", "").replace("Version: 1.8.0", "Version: 1.7.14");
    let text = text.replace(" - 19001\n", "\n").replace(" - 19002\n", "\n");
    let error = read(&runtime(), &text.replace(" - 19003\n", "\n")).expect_err("no ports");
    assert_eq!(
        error,
        "HAProxy 1.7.14 does not show the ports of its servers: rollgate needs HAProxy 1.8 or newer"
    );
}

#[test]
fn master_process_is_asked_for_its_worker() {
    let master = haproxy(r#"{"backend":"app","tcp":"10.0.0.1:9999","master":true}"#);
    let line = |asks: Vec<Query>| {
        let [Query::Exchange(_, bytes, _)] = &asks[..] else { panic!("{asks:?}") };
        String::from_utf8_lossy(bytes).into_owned()
    };
    assert_eq!(
        line(master.queries(Purpose::Look)),
        "@1 show cli level;@1 show info;@1 show servers state app;@1 show stat app -1 -1;quit\n"
    );
    let question = "show cli level;show info;show servers state app;show stat app -1 -1;quit\n";
    assert_eq!(line(runtime().queries(Purpose::Look)), question);
    let asks = master.set(&[reply(RUNTIME_UP)], S2, true).expect("writable");
    assert_eq!(line(asks), "@1 set server app/s2 state drain;quit\n");
}

#[test]
fn socket_of_the_master_process_is_told_from_that_of_a_worker() {
    for said in [
        file!("2.2.9", "master.txt"),
        file!("2.6.12", "master.txt"),
        file!("2.7.0", "master.txt"),
        file!("2.8.25", "master.txt"),
        file!("2.9.0", "master.txt"),
        file!("3.0.11", "master.txt"),
        file!("3.1.0", "master.txt"),
        file!("3.2.26", "master.txt"),
        file!("3.3.0", "master.txt"),
        file!("3.4.7", "master.txt"),
    ] {
        let error = read(&runtime(), said).expect_err("it has no servers");
        assert!(
            error.contains("master process") && error.contains("set `master: true`"),
            "{error}"
        );
    }
    // A worker does not know `@1`.
    let unknown = "Unknown command: '@1', but maybe one of the following ones is a better match:\n  \
                   help [<command>]                        : list matching or all commands\n";
    let error = read(&runtime(), &format!("{unknown}\n").repeat(4)).expect_err("no servers");
    assert!(error.contains("remove `master: true`"), "{error}");
}

#[test]
fn servers_are_known_by_their_addresses() {
    for (haproxy, text) in [(runtime(), RUNTIME_UP), (page(), PAGE_UP)] {
        let view = read(&haproxy, text).expect("readable");
        assert_eq!(view.peers.len(), 3);
        for server in [S1, S2, S3] {
            assert_eq!(view.peers[server], peer(true, false, 0));
            assert_eq!(is_down(&haproxy, text, server), Ok(false));
        }
    }
}

#[test]
fn a_drained_server_and_one_in_maintenance_are_out_and_still_busy() {
    let view = read(&runtime(), RUNTIME_OUT).expect("readable");
    assert_eq!([view.peers[S1], view.peers[S2]], [peer(false, false, 2), peer(false, false, 2)]);
    assert_eq!(view.peers[S3], peer(true, false, 2));
    assert_eq!(
        [S1, S2, S3].map(|server| is_down(&runtime(), RUNTIME_OUT, server)),
        [Ok(true), Ok(true), Ok(false)]
    );
}

#[test]
fn sticky_backend_needs_maintenance_to_be_out() {
    for (haproxy, text) in [(maint(), RUNTIME_OUT), (page(), PAGE_OUT)] {
        let view = read(&haproxy, text).expect("readable");
        assert!(!view.is_out(S1) && !view.routes_to(S1), "drained: neither out nor in");
        assert!(view.is_out(S2));
        assert_eq!([S1, S2].map(|server| is_down(&haproxy, text, server)), [Ok(false), Ok(true)]);
    }
    let sticky = with_cookie(RUNTIME_UP);
    let error = is_down(&runtime(), &sticky, S1).expect_err("drain is not enough");
    assert!(error.contains("by a cookie") && error.contains("`state: maint`"), "{error}");
    assert_eq!(is_down(&maint(), &sticky, S1), Ok(false));
    let drained = with_cookie(RUNTIME_OUT);
    assert!(!read(&runtime(), &drained).expect("readable").is_out(S1));
}

/// The same with `cookie SRV insert` in the backend.
fn with_cookie(text: &str) -> String {
    let column = text.lines().find(|line| line.starts_with("# pxname")).expect("a header");
    let place = column.split(',').position(|name| name == "cookie").expect("a column");
    let change = |line: &str| {
        let mut cells: Vec<_> = line.split(',').collect();
        if line.starts_with("app,BACKEND") {
            cells[place] = "SRV";
        }
        cells.join(",") + "\n"
    };
    text.split_terminator('\n').map(change).collect()
}

#[test]
fn haproxys_own_check_holds_a_server_down_but_confirms_nothing() {
    for (haproxy, text) in [(runtime(), RUNTIME_DEAD), (page(), PAGE_DEAD)] {
        let view = read(&haproxy, text).expect("readable");
        assert!(!view.routes_to(S3) && !view.is_out(S3));
        assert_eq!(is_down(&haproxy, text, S3), Ok(false));
    }
}

/// Measured: the list shows a drained server that fails its check as `DOWN`, like one that was never drained.
#[test]
fn stats_page_uses_maintenance_because_it_hides_drained_servers() {
    let drained_and_dead = "3 s3 127.0.0.1 0 8 1 1";
    let text = RUNTIME_DEAD.replace("3 s3 127.0.0.1 0 0 1 1", drained_and_dead);
    assert_eq!(is_down(&runtime(), &text, S3), Ok(true));
    let asks = page().set(&[reply(PAGE_UP)], S1, true).expect("writable");
    let [Query::Http(request)] = &asks[..] else { panic!("{asks:?}") };
    let body = request.body.as_deref().map(String::from_utf8_lossy);
    assert_eq!(body.as_deref(), Some("s=s1&action=maint&b=app"));
    assert_eq!(request.url, "http://10.0.0.1/stats");
}

#[test]
fn a_slow_start_a_weight_of_zero_and_what_a_server_inherits_are_not_in() {
    let with = |state: &str| {
        RUNTIME_UP.replace("1 s1 127.0.0.1 2 0 1 1", &format!("1 s1 127.0.0.1 {state}"))
    };
    for (state, out) in [
        ("1 0 1 1", false), // a slow start
        ("3 0 1 1", false), // asked to go by its check
        ("2 0 0 1", true),  // a weight of 0
        ("2 16 1 1", true), // it follows a drained server
        ("0 2 1 1", true),  // it follows one in maintenance
        ("0 32 1 1", true), // its name cannot be resolved
    ] {
        let text = with(state);
        let view = read(&runtime(), &text).expect("readable");
        assert!(!view.routes_to(S1), "{state}");
        assert_eq!(view.is_out(S1), out, "{state}");
        assert_eq!(is_down(&runtime(), &text, S1), Ok(false), "{state}: no operator set that");
    }
}

#[test]
fn view_says_why_a_server_gets_no_requests_without_a_command() {
    let runtime_with = |state: &str| {
        let text = RUNTIME_UP.replace("1 s1 127.0.0.1 2 0 1 1", &format!("1 s1 127.0.0.1 {state}"));
        read(&runtime(), &text).expect("readable").withheld
    };
    let page_with = |status: &str, weight: &str| {
        let text = change_cell(&with_cell("s1", "weight", weight), "s1", "status", status);
        read(&page(), &text).expect("readable").withheld
    };
    for (runtime, page, why) in [
        ("2 0 0 0", ("UP", "0"), "server s1 has weight 0; give it a weight, or skip the node"),
        ("2 8 0 0", ("DRAIN", "0"), "server s1 has weight 0; give it a weight, or skip the node"),
        ("0 2 1 1", ("MAINT (via app/s2)", "1"), "server s1 follows another server that is out"),
        ("0 32 1 1", ("MAINT (resolution)", "1"), "DNS does not resolve the name of server s1"),
    ] {
        for withheld in [runtime_with(runtime), page_with(page.0, page.1)] {
            assert!(withheld[S1].starts_with(why) && withheld.len() == 1, "{withheld:?}");
        }
    }
    for (runtime, page) in [("2 0 1 1", ("UP", "1")), ("0 1 1 1", ("MAINT", ""))] {
        assert!(runtime_with(runtime).is_empty() && page_with(page.0, page.1).is_empty());
    }
}

/// Measured: 4 on a server that was `disabled` in the configuration and is now ready, 64 on one that DNS has named.
#[test]
fn flags_about_a_servers_origin_do_not_keep_it_out() {
    for state in [4, 64, 68] {
        let text = RUNTIME_UP.replace("1 s1 127.0.0.1 2 0", &format!("1 s1 127.0.0.1 2 {state}"));
        assert!(read(&runtime(), &text).expect("readable").routes_to(S1), "{state}");
    }
}

#[test]
fn probe_reports_the_version() {
    assert_eq!(runtime().info(&[reply(RUNTIME_UP)]).is, "HAProxy 2.6.12-1+deb12u4");
    assert_eq!(runtime().info(&[reply("<html>")]).is, "HAProxy");
}

#[test]
fn requests_that_wait_for_a_server_count() {
    let text = RUNTIME_OUT.replace("app,s1,0,0,2,", "app,s1,3,3,2,");
    assert_eq!(read(&runtime(), &text).expect("readable").peers[S1].in_flight, Some(5));
}

#[test]
fn several_servers_at_one_address_are_one_peer_and_not_changed() {
    let text = RUNTIME_OUT.replace(" 19003 ", " 19001 ");
    let view = read(&runtime(), &text).expect("readable");
    assert_eq!(view.peers[S1], peer(true, false, 4), "routed as long as one is");
    let error = is_down(&runtime(), &text, S1).expect_err("which one?");
    assert!(error.contains("several servers at 127.0.0.1:19001: s1, s3"), "{error}");
}

#[test]
fn missing_node_error_names_the_servers_of_the_backend() {
    let error = is_down(&runtime(), RUNTIME_UP, "10.0.0.9:80").expect_err("unknown");
    assert_eq!(error, format!("backend app has no server at 10.0.0.9:80; it has {S1}, {S2}, {S3}"));
    // A name can contain control characters of a terminal.
    let text = RUNTIME_UP.replace("1 s1 127.0.0.1 2", "1 s1 \u{1b}[2J127.0.0.1 2");
    let error = is_down(&runtime(), &text, "10.0.0.9:80").expect_err("unknown");
    assert!(!error.contains('\u{1b}'), "{error:?}");
}

#[test]
fn names_and_ipv6_are_addresses_and_a_slot_without_any_is_none() {
    let six = RUNTIME_UP.replace("1 s1 127.0.0.1 2", "1 s1 ::1 2");
    assert!(read(&runtime(), &six).expect("readable").routes_to("[::1]:19001"));
    let named = RUNTIME_UP.replace(" - 19001 -", " app-1.internal 19001 -");
    let view = read(&runtime(), &named).expect("readable");
    assert!(view.routes_to(S1) && view.routes_to("app-1.internal:19001"));
    for nowhere in ["1 s1 - 0 32", "1 s1 0.0.0.0 0 32"] {
        let text = RUNTIME_UP.replace("1 s1 127.0.0.1 2 0", nowhere);
        assert_eq!(read(&runtime(), &text).expect("readable").peers.len(), 2, "{nowhere}");
    }
}

#[test]
fn server_with_an_address_from_dns_is_not_changed() {
    let text = RUNTIME_UP.replace(" - 19001 - 0", " - 19001 _app._tcp.service.consul 0");
    assert!(read(&runtime(), &text).expect("readable").routes_to(S1));
    let error = is_down(&runtime(), &text, S1).expect_err("it may be another node");
    assert!(
        error.contains("_app._tcp.service.consul") && error.contains("consul-service"),
        "{error}"
    );
}

#[test]
fn several_processes_are_refused() {
    let error = read(&runtime(), &RUNTIME_UP.replace("Nbproc: 1", "Nbproc: 4")).expect_err("four");
    assert!(error.contains("runs 4 processes (nbproc)"), "{error}");
    let html = HTML.replace("nbproc = 1", "nbproc = 4");
    let error = page().is_down(&[reply(PAGE_UP), reply(&html)], S1).expect_err("four");
    assert!(error.contains("runs 4 processes (nbproc)"), "{error}");
}

/// The list with a cell of a server's row changed.
fn with_cell(server: &str, column: &str, cell: &str) -> String {
    change_cell(PAGE_UP, server, column, cell)
}

fn change_cell(text: &str, server: &str, column: &str, cell: &str) -> String {
    let header = text.lines().next().expect("a header");
    let place = header.split(',').position(|name| name.trim_start_matches("# ") == column);
    let place = place.expect("a column");
    let change = |line: &str| {
        let mut cells: Vec<_> = line.split(',').collect();
        if line.starts_with(&format!("app,{server},")) {
            cells[place] = cell;
        }
        cells.join(",") + "\n"
    };
    text.lines().map(change).collect()
}

/// HAProxy 2.3.0 to 2.3.2 sometimes leave cells empty.
#[test]
fn empty_cell_is_not_zero_and_affects_only_its_own_server() {
    for column in ["scur", "qcur"] {
        let view = read(&page(), &with_cell("s1", column, "")).expect("readable");
        assert!(view.routes_to(S1), "{column}");
        assert_eq!((view.peers[S1].in_flight, view.peers[S2].in_flight), (None, Some(0)));
    }
    for (column, cell, why) in [
        ("weight", "", "server s1: column `weight` is empty"),
        ("weight", "x", "server s1: `x` in column `weight` is not a number"),
        ("status", "", "server s1: unknown status ``"),
        ("status", "GONE", "server s1: unknown status `GONE`"),
    ] {
        let text = with_cell("s1", column, cell);
        let view = read(&page(), &text).expect("readable");
        assert!(!view.routes_to(S1) && !view.is_out(S1), "{column}");
        assert!(view.routes_to(S2), "{column}");
        assert_eq!(view.unread[S1], why);
        assert_eq!(is_down(&page(), &text, S1), Err(why.to_owned()));
        assert_eq!(is_down(&page(), &text, S2), Ok(false));
    }
    // The weight of a server in maintenance has no meaning.
    let text = change_cell(&with_cell("s1", "weight", ""), "s1", "status", "MAINT");
    assert_eq!(is_down(&page(), &text, S1), Ok(true));
    for column in ["pid", "type"] {
        let view = read(&page(), &with_cell("s1", column, "")).expect("readable");
        assert!(view.routes_to(S1) && view.routes_to(S2), "{column}");
    }
}

/// It is unknown which node it is, so no node that is not listed is out.
#[test]
fn a_server_that_gets_requests_and_shows_no_address_may_be_any_node() {
    let settings = r#"{"backend":"app","stats_url":"http://10.0.0.1/stats"}"#;
    let settings = serde_json::from_str(settings).expect("settings");
    let page = HaproxyDriver::new(&settings, Nodes::new(&[S1.into(), S2.into()]));
    let view = read(&page, &with_cell("s1", "addr", "")).expect("readable");
    assert!(!view.is_out(S1) && !view.routes_to(S1), "{view:?}");
    assert!(view.routes_to(S2));
    let slot = change_cell(&with_cell("s1", "addr", ""), "s1", "status", "MAINT (resolution)");
    let view = read(&page, &slot).expect("readable");
    assert!(view.is_out(S1), "a slot without an address gets nothing: {view:?}");
}

#[test]
fn odd_rows_of_other_backends_and_odd_servers_are_ignored() {
    let text = format!("{PAGE_UP}other,s1,0\nother,s2,x,y\n");
    assert!(read(&page(), &text).expect("readable").routes_to(S1));
    assert!(read(&page(), &format!("{PAGE_UP}app,s4,0\n")).is_err(), "it may be any node");
    let odd = RUNTIME_UP.replace("1 s1 127.0.0.1 2", "1 s1 127.0.0.1 x");
    let view = read(&runtime(), &odd).expect("readable");
    assert!(!view.is_out(S1) && !view.routes_to(S1) && view.routes_to(S2));
    assert!(is_down(&runtime(), &odd, S1).is_err());
    assert_eq!(is_down(&runtime(), &odd, S2), Ok(false));
}

#[test]
fn unknown_backend_is_reported() {
    let info = RUNTIME_UP.split("\n\n").nth(1).expect("show info");
    let text = format!("admin\n\n{info}\n\nCan't find backend.\n\nNo such proxy.\n\n");
    assert_eq!(read(&runtime(), &text), Err("there is no backend `app`".into()));
    let text = PAGE_UP.replace("\napp,", "\nother,");
    assert_eq!(read(&page(), &text), Err("the stats page shows no backend `app`".into()));
}

#[test]
fn missing_permission_is_reported_before_a_write() {
    let operator = RUNTIME_UP.replacen("admin", "operator", 1);
    read(&runtime(), &operator).expect("enough to look");
    let error = is_down(&runtime(), &operator, S1).expect_err("not enough to write");
    assert!(error.contains("has the level `operator`"), "{error}");
    let no_legends = PAGE_UP.replace("127.0.0.1:1900", "");
    let error = read(&page(), &no_legends).expect_err("no addresses");
    assert!(error.contains("`stats show-legends`"), "{error}");
}

#[test]
fn answers_to_a_change_are_read() {
    let said = |text: &str| runtime().is_done(&[reply(text)]);
    assert_eq!(said("\n"), Ok(()));
    for text in [
        "",
        "No such server.\n\n",
        "No such backend.\n\n",
        "Permission denied\n\n",
        "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n\n",
    ] {
        assert!(said(text).is_err(), "{text}");
    }
    let answered = |place: &str| {
        let mut reply = Reply { status: 303, ..Reply::default() };
        reply.headers.insert("location".into(), place.into());
        page().is_done(&[reply])
    };
    assert_eq!(answered("/stats;st=DONE"), Ok(()));
    for place in ["/stats;st=ERRP", "/stats;st=DENY", "/stats;st=UNKN", "/stats", "/login"] {
        assert!(answered(place).is_err(), "{place}");
    }
    assert!(page().is_done(&[reply("")]).is_err(), "a 200 is no answer of that form");
}

#[test]
fn command_cannot_contain_another_command() {
    let lines = |down| {
        let asks = runtime().set(&[reply(RUNTIME_UP)], S2, down).expect("writable");
        let [Query::Exchange(_, bytes, _)] = &asks[..] else { panic!("{asks:?}") };
        String::from_utf8_lossy(bytes).into_owned()
    };
    assert_eq!(lines(true), "set server app/s2 state drain\n");
    assert_eq!(lines(false), "set server app/s2 state ready\n");
    for backend in ["app;disable frontend web", "a b", "", "app\n", "a/b"] {
        let settings = serde_json::json!({ "backend": backend, "tcp": "10.0.0.1:9999" });
        let haproxy = haproxy(&settings.to_string());
        assert!(haproxy.queries(Purpose::Look).is_empty(), "{backend}");
        assert!(haproxy.read(&[]).is_err(), "{backend}");
    }
}

#[test]
fn cells_may_hold_commas_and_quotes() {
    assert_eq!(table::csv(r#"a,"b, ""c""",,d"#), ["a", r#"b, "c""#, "", "d"]);
}

#[test]
fn new_process_says_that_it_does_not_count_the_requests_of_the_one_before() {
    for (version, [runtime_up, _], _) in VERSIONS {
        let uncounted = |seconds: &str| {
            let lines = runtime_up.lines().map(|line| match line.split_once(": ") {
                Some(("Uptime_sec", _)) => format!("Uptime_sec: {seconds}\n"),
                _ => format!("{line}\n"),
            });
            let reply = reply(&lines.collect::<String>());
            runtime().read(&[reply]).expect("readable").uncounted
        };
        let told =
            "its process started 12s ago and does not count the requests of the process before";
        assert_eq!(uncounted("12").as_deref(), Some(told), "{version}");
        assert_eq!(uncounted("600"), None, "{version}");
    }
}
