//! The HTTP check of `health`: what it sends, and what it says about replies that it does not expect.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use crate::support::Case;

const PASSWORD: &str = "s3cret-7e57-4a4a";

/// A service that answers every request in the same way, and the requests that it got.
fn service(reply: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("an address").to_string();
    let requests = Arc::<Mutex<Vec<String>>>::default();
    let writer = requests.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            // A connection without a request shows only that the port is open.
            if !head.is_empty() {
                let head = String::from_utf8_lossy(&head).into_owned();
                let _ =
                    stream.write_all(reply.replace("HEAD", &head.replace('\n', " ")).as_bytes());
                writer.lock().expect("a lock").push(head);
            }
        }
    });
    (address, requests)
}

/// A playbook with two nodes of which the first is out of rotation, and this check.
fn case(address: &str, http: &str) -> Case {
    let playbook = format!(
        r#"service: app
secrets: {{ login: {{ env: LOGIN }} }}
registry: {{ type: gateway }}
gateways:
  - type: command
    name: lb
    list: ls gw
    pattern: '(?m)^(?<address>\S+:\d+)$'
    out: rm -f gw/"$1"
    in: touch gw/"$1"
nodes:
  - {{ ssh: local, name: app-1, address: '{address}' }}
  - {{ ssh: local, name: app-2, address: '127.0.0.2:9000' }}
drain: {{ in_flight: {{ sockets: {{}} }} }}
restart: 'true'
health: {{ interval: 20ms, rise: 1, min_healthy_time: 0s, deadline: 2s, http: {{ url: 'http://{address}/ping', {http} }} }}
"#
    );
    let case = Case::new(&[("app.yaml", playbook.as_bytes())]).env("LOGIN", PASSWORD);
    let case = case.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    fs::create_dir(case.folder().join("gw")).expect("a folder");
    fs::write(case.folder().join("gw/127.0.0.2:9000"), "").expect("a file");
    case
}

#[test]
fn check_sends_method_host_headers_and_login() {
    let (address, requests) = service("HTTP/1.1 204 x\r\n\r\n");
    let http = "method: OPTIONS, host: app.example, headers: { X-Probe: '${{ node.name }}', \
                X-Token: 'k ${{ secrets.login }}' }, basic_auth: { user: me, password: '${{ secrets.login }}' }";
    case(&address, http).exits(0, &["node", "in", "app.yaml", "app-1"]);
    let request = requests.lock().expect("a lock")[0].to_ascii_lowercase();
    for line in [
        "options /ping http/1.1".to_owned(),
        "host: app.example".to_owned(),
        "x-probe: app-1".to_owned(),
        format!("x-token: k {PASSWORD}"),
        // `me:` and the password.
        "authorization: basic bwu6cznjcmv0ltdlntctnge0yq==".to_owned(),
    ] {
        assert!(request.contains(&format!("{line}\r\n")), "{line}: {request}");
    }
}

#[test]
fn login_that_a_service_prints_is_not_shown() {
    let (address, _) = service("HTTP/1.1 500 x\r\n\r\nHEAD");
    let case =
        case(&address, "basic_auth: { user: me, password: '${{ secrets.login }}' }, headers: {}");
    let (stdout, stderr) = case.exits(20, &["node", "in", "app.yaml", "app-1"]);
    let journal = fs::read_dir(case.folder().join(".rollgate/app")).expect("a state folder");
    let journal = journal
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path().join("journal.jsonl")).ok());
    let all = journal.collect::<String>() + &stdout + &stderr;
    assert!(stderr.contains("uthorization: Basic ***"), "{stderr}");
    assert!(!all.contains("bWU6") && !all.contains(PASSWORD), "{all}");
}

#[test]
fn redirect_is_reported_with_its_location_and_followed_on_request() {
    let (target, _) = service("HTTP/1.1 200 x\r\n\r\npong");
    let to = format!("HTTP/1.1 301 x\r\nLocation: http://{target}/ping\r\n\r\n");
    let (address, _) = service(Box::leak(to.into_boxed_str()));
    let (_, stderr) = case(&address, "body: pong").exits(20, &["node", "in", "app.yaml", "app-1"]);
    let says = format!(
        "301, a redirect to http://{target}/ping (change `url`, or set `follow_redirects: true`)"
    );
    assert!(stderr.contains(&says), "{stderr}");
    case(&address, "body: pong, follow_redirects: true")
        .exits(0, &["node", "in", "app.yaml", "app-1"]);
}

#[test]
fn status_in_an_expected_range_is_healthy() {
    let (address, _) = service("HTTP/1.1 404 x\r\n\r\n");
    for (expect, code) in [("400-404", 0), ("[200, 404]", 0), ("404", 0), ("[200, 300-403]", 20)] {
        case(&address, &format!("expect: {expect}"))
            .exits(code, &["node", "in", "app.yaml", "app-1"]);
    }
}

#[test]
fn every_command_warns_about_unchecked_certificates() {
    let (address, _) = service("HTTP/1.1 200 x\r\n\r\n");
    let case = case(&address, "insecure: true");
    for command in ["check", "doctor", "plan", "status"] {
        let output = case.run(&[command, "app.yaml"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("warning: `health.http.insecure` is set"), "{command}: {stderr}");
    }
}

#[test]
fn unreadable_authority_file_is_refused_before_anything_is_asked() {
    let (address, requests) = service("HTTP/1.1 200 x\r\n\r\n");
    let case = case(&address, "ca: ca.pem");
    let (_, stderr) = case.exits(2, &["node", "in", "app.yaml", "app-1"]);
    assert!(stderr.contains("health.http.ca: cannot read `"), "{stderr}");
    fs::write(case.folder().join("ca.pem"), "x").expect("a file");
    let (_, stderr) = case.exits(2, &["node", "in", "app.yaml", "app-1"]);
    assert!(stderr.contains("holds no certificate"), "{stderr}");
    assert!(requests.lock().expect("a lock").is_empty());
}
