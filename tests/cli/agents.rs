//! Agents that only Consul's catalog names: rollgate sends them no token.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::support::Case;

const TOKEN: &str = "b1gs5ecr-7e57-4a4a";

/// Answers every request by its path and records the requests.
fn serve(
    listener: TcpListener,
    answer: impl Fn(&str) -> String + Send + 'static,
) -> Arc<Mutex<String>> {
    let asked = Arc::new(Mutex::new(String::new()));
    let own = asked.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
            let (mut request, mut line) = (String::new(), String::new());
            while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
                request += &std::mem::take(&mut line);
            }
            own.lock().expect("lock").push_str(&request);
            let body = answer(request.split([' ', '?']).nth(1).unwrap_or_default());
            let length = body.len();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    asked
}

#[test]
fn token_is_not_sent_to_agents_known_only_from_the_catalog() {
    let consul = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = consul.local_addr().expect("an address").port();
    let agent = TcpListener::bind(("127.0.0.9", port)).expect("bind");
    let asked = serve(agent, |_| "{}".to_owned());
    let known = serve(consul, |path| {
        match path {
        "/v1/catalog/service/app" => json!([
            { "Node": "evil", "Address": "127.0.0.9", "ServiceID": "app-1", "ServiceAddress": "127.0.0.21", "ServicePort": 9000 },
            { "Node": "n2", "Address": "127.0.0.22", "ServiceID": "app-2", "ServiceAddress": "127.0.0.22", "ServicePort": 9000 },
        ])
        .to_string(),
        _ => "[]".to_owned(),
    }
    });
    let playbook = format!(
        "service: app
registry: {{ type: consul-service, service: app }}
gateways: [{{ type: consul-passing, name: consul, service: app }}]
nodes:
  - {{ ssh: local, name: app-1, address: '127.0.0.21:9000' }}
  - {{ ssh: local, name: app-2, address: '127.0.0.22:9000' }}
stop: 'true'
start: 'true'
health: {{ tcp: '${{{{ node.address }}}}' }}
consul: {{ addresses: ['http://127.0.0.1:{port}'] }}
"
    );
    let case = Case::new(&[("app.yaml", playbook.as_bytes())]);
    let case = case.env("CONSUL_HTTP_TOKEN", TOKEN).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let (stdout, _) = case.exits(0, &["status", "app.yaml"]);
    assert!(
        known
            .lock()
            .expect("lock")
            .to_ascii_lowercase()
            .contains(&format!("x-consul-token: {TOKEN}"))
    );
    assert_eq!(*asked.lock().expect("lock"), "", "it was asked");
    assert!(stdout.contains("set `registry.agent`"), "{stdout}");
}
