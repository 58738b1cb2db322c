use super::*;

fn view(body: &str) -> Result<View, String> {
    let settings = r#"{"service":"app","sync_interval":"5s"}"#;
    let settings = serde_json::from_str(settings).expect("settings");
    let reply = Reply { status: 200, body: body.into(), ..Reply::default() };
    ConsulPassingDriver::new(&settings, Nodes::default()).read(&[reply])
}

#[test]
fn an_instance_is_known_by_its_own_address_or_by_its_nodes() {
    let body = r#"[
        {"Node": {"Node": "n1", "Address": "10.0.1.1"},
         "Service": {"ID": "app-1", "Service": "app", "Address": "", "Port": 80}, "Checks": []},
        {"Node": {"Node": "n2", "Address": "10.0.1.2"},
         "Service": {"ID": "app-2", "Service": "app", "Address": "10.9.9.2", "Port": 81}, "Checks": []}
    ]"#;
    let view = view(body).expect("readable");
    assert!(view.routes_to("10.0.1.1:80") && view.routes_to("10.9.9.2:81"));
    assert!(view.is_out("10.0.1.2:81"));
}

#[test]
fn answer_that_is_not_a_list_of_instances_is_refused() {
    for body in ["", "{}", "null", "<html>", r#"[{"Node": {}}]"#] {
        assert!(view(body).is_err(), "{body}");
    }
}
