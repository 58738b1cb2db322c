use super::*;

fn driver() -> ConsulTemplateDriver {
    let settings = r#"{"ssh":"gw","file":"/etc/nginx/app.conf","pid_file":"/run/nginx.pid"}"#;
    ConsulTemplateDriver::new(&serde_json::from_str(settings).expect("settings"), Nodes::default())
}

fn view(output: &str) -> Result<View, String> {
    let reply = Reply { status: 200, body: output.into(), ..Reply::default() };
    driver().read(&[reply])
}

#[test]
fn the_servers_of_the_rendered_file_are_routed() {
    let view = view(
        "upstream app {\n  zone app 64k;\n  server 10.0.1.1:80 weight=5 max_fails=0;\n\tserver 10.0.1.2:80;\n\
         # server 10.0.1.3:80;\n  server 10.0.1.4:80 max_fails=1 down;\n  server 10.0.1.5:80 backup; # down\n}\n\nleaving=0 older=0\n",
    );
    let view = view.expect("readable");
    assert_eq!(view.unsettled, None);
    for (address, routed) in [
        ("10.0.1.1:80", true),
        ("10.0.1.2:80", true),
        ("10.0.1.3:80", false),
        ("10.0.1.4:80", false),
        ("10.0.1.5:80", true),
    ] {
        assert_eq!(view.routes_to(address), routed, "{address}");
    }
}

/// As `{{ range service "app" }}server {{ .Address }}:{{ .Port }}; {{ end }}` renders it.
#[test]
fn several_servers_on_a_line_are_all_routed() {
    let view = view(
        "upstream app { server 10.0.1.1:80; server 10.0.1.2:80 max_fails=0;server 10.0.1.3:80 down; \
         server 10.0.1.4:80; # server 10.0.1.5:80;\n}\nserver { listen 80; }\n\nleaving=0 older=0\n",
    );
    let view = view.expect("readable");
    let peers: Vec<_> = view.peers.keys().map(String::as_str).collect();
    assert_eq!(peers, ["10.0.1.1:80", "10.0.1.2:80", "10.0.1.3:80", "10.0.1.4:80"]);
    assert!(view.routes_to("10.0.1.2:80") && view.routes_to("10.0.1.4:80"));
    assert!(view.is_out("10.0.1.3:80"));
}

#[test]
fn a_server_without_a_port_is_at_port_80_as_for_nginx() {
    let view = view(
        "server 10.0.1.1 weight=2;\nserver [fd00::1];\nserver 10.0.1.1:80 down;\n\nleaving=0 older=0\n",
    );
    let view = view.expect("readable");
    let peers: Vec<_> = view.peers.keys().map(String::as_str).collect();
    assert_eq!(peers, ["10.0.1.1:80", "[fd00::1]:80"]);
    assert!(view.routes_to("10.0.1.1:80"), "one of the two entries is up");
}

/// Many reads of the same file over ssh took seconds.
#[test]
fn one_read_of_the_file_confirms() {
    assert_eq!(driver().facts().workers, Some(1));
}

#[test]
fn confirmation_waits_for_workers_that_shut_down() {
    let view = view("server 10.0.1.2:80;\n\nleaving=2 older=0\n").expect("readable");
    assert_eq!(view.unsettled.as_deref(), Some("the previous list is still in use by 2 workers"));
}

#[test]
fn missing_reload_confirms_nothing() {
    let error = view("server 10.0.1.2:80;\n\nleaving=0 older=4\n").expect_err("not loaded");
    assert_eq!(error, "nginx has not loaded the file: 4 workers started before it was written");
}

#[test]
fn output_without_the_numbers_of_workers_is_refused() {
    for output in [
        "",
        "server 10.0.1.2:80;\n",
        "server 10.0.1.2:80;\n\nleaving=",
        "server 10.0.1.2:80;\n\nleaving=\n",
        "server 10.0.1.2:80;\n\nleaving=0\n",
        "server 10.0.1.2:80;\n\nleaving=0 older=\n",
        "server 10.0.1.2:80;\n\nleaving=0 older=1",
    ] {
        assert!(view(output).is_err(), "{output}");
    }
}
