use super::*;
use crate::gateway::drivers::readings::Readings as _;

const FIRST: &str = "127.0.0.1:19001";
const SECOND: &str = "127.0.0.1:19002";

/// As Envoy 1.40 shows them, while two requests are in flight at the first host. Its stats are shortened.
const CLUSTERS: &str = include_str!("../../../../tests/fixtures/gateway/envoy/clusters.json");

const FILE: &str = r#"{"version_info":"1","resources":[{"@type":"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment","cluster_name":"app","endpoints":[{"lb_endpoints":[
{"endpoint":{"address":{"socket_address":{"address":"127.0.0.1","port_value":19001}}}},
{"endpoint":{"address":{"socket_address":{"address":"127.0.0.1","port_value":19002}}},"health_status":"DRAINING"},
{"endpoint":{"address":{"socket_address":{"address":"127.0.0.1","port_value":19003}}},"load_balancing_weight":1}]}]}]}
"#;

fn envoy(more: &str) -> EnvoyDriver {
    let settings = format!(
        r#"{{"admin_url":"http://gw:9901","cluster":"app","ssh":"gw","file":"/etc/envoy/eds/app.json"{more}}}"#
    );
    EnvoyDriver::new(&serde_json::from_str(&settings).expect("settings"), Nodes::default())
}

fn reply(body: &str) -> Reply {
    Reply { status: 200, body: body.into(), ..Reply::default() }
}

fn view(clusters: &str) -> View {
    envoy("").read(&[reply(clusters)]).expect("readable")
}

#[test]
fn a_draining_host_is_out_and_its_requests_are_counted() {
    let view = view(CLUSTERS);
    assert_eq!(view.peers[FIRST], Peer { up: false, failing_check: false, in_flight: Some(2) });
    assert_eq!(view.peers[SECOND], Peer { up: true, failing_check: false, in_flight: Some(0) });
    assert!(view.routes_to("127.0.0.1:19003"));
    assert_eq!((view.unsettled, view.overridden), (None, None));
}

#[test]
fn a_check_of_envoys_own_holds_a_host_down() {
    let healthy = "\"eds_health_status\": \"HEALTHY\"";
    let failed = format!("\"failed_active_health_check\": true,\n{healthy}");
    let view = view(&CLUSTERS.replacen(healthy, &failed, 1));
    assert!(!view.routes_to(SECOND) && !view.is_out(SECOND));
}

/// Measured: with one of the others unhealthy, the drained host got nothing; with both, a third of all requests.
#[test]
fn no_node_is_confirmed_out_while_envoy_panics() {
    let unhealthy = |count| CLUSTERS.replacen("HEALTHY", "UNHEALTHY", count);
    assert_eq!(view(&unhealthy(1)).overridden, None);
    assert!(view(&unhealthy(2)).overridden.is_some_and(|why| why.contains("only 0 of 2")));
    let drained = |count| CLUSTERS.replacen("\"HEALTHY\"", "\"DRAINING\"", count);
    assert_eq!(view(&drained(1)).overridden, None);
    assert!(view(&drained(2)).overridden.is_some_and(|why| why.contains("only 0 of 0")));
    let never = envoy(r#","panic_threshold":0"#).read(&[reply(&drained(2))]).expect("readable");
    assert_eq!(never.overridden, None);
}

#[test]
fn another_cluster_and_no_clusters_show_nothing() {
    for (clusters, why) in [
        (CLUSTERS.replace("\"app\"", "\"other\""), "no cluster `app`; its clusters: other"),
        ("{}".into(), "no cluster `app`"),
        ("app::default_priority::max_connections::1024\n".into(), "cannot be read"),
        (CLUSTERS.replace("\"port_value\"", "\"named_port\""), "no address and port"),
    ] {
        let error = envoy("").read(&[reply(&clusters)]).expect_err(why);
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn odd_host_affects_no_other_and_missing_count_is_unknown() {
    let pipe = r#"{"address":{"pipe":{"path":"/run/app.sock"}},"health_status":{"eds_health_status":"HEALTHY"}},
        {"address":{"envoy_internal_address":{"server_listener_name":"x"}}}, 7,"#;
    let begin = "\"host_statuses\": [";
    assert!(CLUSTERS.contains(begin));
    let shown = view(&CLUSTERS.replacen(begin, &format!("{begin}{pipe}"), 1));
    assert_eq!(shown.peers.len(), 3);
    assert!(shown.is_out(FIRST) && shown.routes_to(SECOND));
    let in_flight = |clusters: &str| view(clusters).peers[FIRST].in_flight;
    assert_eq!(in_flight(&CLUSTERS.replace("\"2\"", "\"x\"")), None);
    assert_eq!(in_flight(&CLUSTERS.replace("\"rq_active\"", "\"rq_other\"")), None);
    assert_eq!(in_flight(&CLUSTERS.replace("\"value\": \"2\",", "")), Some(0));
    // A health that cannot be read is an error of that host only.
    let odd = CLUSTERS.replacen("\"health_status\": {", "\"health_status\": 7, \"x\": {", 1);
    let odd = view(&odd);
    assert_eq!(odd.unread.len(), 1, "{odd:?}");
    let unread = odd.unread.keys().next().expect("one");
    assert!(!odd.routes_to(unread) && !odd.is_out(unread));
}

/// The new content of the file, if it is still as it was read.
fn turn(file: &str, address: &str, down: bool) -> Result<Value, String> {
    envoy("").control.replaced("/etc/envoy/eds/app.json", file, address, down)
}

#[test]
fn only_the_health_status_of_the_node_is_written() {
    let before: Value = serde_json::from_str(FILE).expect("JSON");
    let mut after = turn(FILE, FIRST, true).expect("turned");
    let first = "/resources/0/endpoints/0/lb_endpoints/0";
    let endpoint = after.pointer_mut(first).and_then(Value::as_object_mut).expect("an endpoint");
    assert_eq!(endpoint.remove("health_status"), Some("DRAINING".into()));
    assert_eq!(after, before);
    let after = turn(FILE, SECOND, false).expect("turned");
    assert_eq!(
        after.pointer("/resources/0/endpoints/0/lb_endpoints/1/health_status"),
        Some(&"HEALTHY".into())
    );
}

/// Of the form in which nearly every file is written.
const YAML: &str = "# endpoints of app, kept by hand
resources:
- \"@type\": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
  cluster_name: app
  endpoints:
  - lb_endpoints:
    - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 19001 } } }
    - endpoint:
        address:
          socket_address:
            address: 127.0.0.1
            port_value: 19002
      health_status: DRAINING # since Monday
";

#[test]
fn yaml_file_keeps_every_other_byte() {
    let settings = r#"{"admin_url":"http://gw:9901","cluster":"web","service_name":"app","ssh":"gw","file":"/eds/app.yaml"}"#;
    let settings = serde_json::from_str(settings).expect("settings");
    let envoy = EnvoyDriver::new(&settings, Nodes::default());
    let turn = |address, down| envoy.control.replaced_text("/eds/app.yaml", YAML, address, down);
    let first = "    - endpoint: { address";
    let drained = "    - health_status: DRAINING\n      endpoint: { address";
    assert_eq!(turn(FIRST, true), Ok(YAML.replacen(first, drained, 1)));
    let back = YAML.replace("DRAINING # since", "HEALTHY # since");
    assert_eq!(turn(SECOND, false), Ok(back));
    let is_down = |address| envoy.control.is_down(&[reply(YAML)], address);
    assert_eq!([FIRST, SECOND].map(is_down), [Ok(false), Ok(true)]);
    let error = turn("127.0.0.1:19003", true).expect_err("missing");
    assert_eq!(error, "the file has no endpoint 127.0.0.1:19003 in the cluster `app`");
    let other = YAML.replace("cluster_name: app", "cluster_name: app-v2");
    let error = envoy.control.replaced_text("/eds/app.yaml", &other, FIRST, true);
    assert!(error.is_err_and(|error| error.ends_with("; its other clusters: app-v2")));
}

#[test]
fn service_name_of_the_cluster_must_be_that_of_the_playbook() {
    let named = STATIC.replace(r#""eds_config""#, r#""service_name":"app-v2","eds_config""#);
    let info =
        |more: &str, dump: &str| envoy(more).info(&[reply(INFO), reply(dump)]).blockers.join("; ");
    assert!(
        info("", &named)
            .contains("reads the endpoints of `app-v2`, but the playbook those of `app`")
    );
    assert_eq!(info(r#","service_name":"app-v2""#, &named), "");
    assert!(info(r#","service_name":"app-v2""#, STATIC).contains("reads the endpoints of `app`"));
}

#[test]
fn file_in_camel_case_keeps_its_names() {
    let camel = FILE
        .replace("cluster_name", "clusterName")
        .replace("lb_endpoints", "lbEndpoints")
        .replace("socket_address", "socketAddress")
        .replace("port_value", "portValue")
        .replace("\"health_status\":\"DRAINING\"", "\"healthStatus\":3");
    let is_down = |address| envoy("").control.is_down(&[reply(&camel)], address);
    assert_eq!((is_down(FIRST), is_down(SECOND)), (Ok(false), Ok(true)));
    let after = turn(&camel, SECOND, false).expect("turned");
    let endpoint = &after["resources"][0]["endpoints"][0]["lbEndpoints"][1];
    assert_eq!(endpoint["healthStatus"], "HEALTHY");
    assert!(endpoint.get("health_status").is_none());
}

#[test]
fn missing_entry_in_the_file_is_not_written() {
    for (file, why) in [
        (FILE.replace("\"app\"", "\"other\""), "no endpoint"),
        (FILE.replace("19001", "19009"), "no endpoint"),
        (FILE.replace("]}]}]}\n", "]}"), "not JSON"),
        ("resources: []\n".into(), "a YAML file is named `.yaml`"),
        ("null".into(), "no endpoint"),
        (
            FILE.replace("\"1\"", &format!("\"{}\"", "1".repeat(crate::gateway::file::LIMIT))),
            "bytes",
        ),
    ] {
        let error = turn(&file, FIRST, true).expect_err(why);
        assert!(error.contains(why), "{error}");
    }
}

/// As Envoy 1.40 answers; without `value` a number is 0.
const INFO: &str = r#"{"version":"9e5580933739775e8bce696a57a2e1bc99368f23/1.40.0/Clean/RELEASE/BoringSSL","state":"LIVE","hot_restart_version":"11.104"}"#;
const STATIC: &str = r#"{"configs":[{"@type":"type.googleapis.com/envoy.admin.v3.ClustersConfigDump.StaticCluster","cluster":{"@type":"type.googleapis.com/envoy.config.cluster.v3.Cluster","name":"app","type":"EDS","eds_cluster_config":{"eds_config":{"path_config_source":{"path":"/etc/envoy/eds/app.json","watched_directory":{"path":"/etc/envoy/eds"}}}},"connect_timeout":"1s","common_lb_config":{"healthy_panic_threshold":{"value":20}}},"last_updated":"2026-11-21T20:35:42.801Z"}]}"#;

#[test]
fn probe_reports_version_and_problems_of_the_cluster() {
    let info =
        |more: &str, server: &str, dump: &str| envoy(more).info(&[reply(server), reply(dump)]);
    let fit = |is: &str| GatewayInfo { is: is.into(), ..GatewayInfo::default() };
    let blockers =
        |more: &str, server: &str, dump: &str| info(more, server, dump).blockers.join("; ");
    // Envoy panics later than the playbook allows.
    assert_eq!(info("", INFO, STATIC), fit("Envoy 1.40.0"));
    let calm = STATIC.replace(r#"{"value":20}"#, "{}");
    assert_eq!(info(r#","panic_threshold":0"#, INFO, &calm), fit("Envoy 1.40.0"));
    let early = blockers(r#","panic_threshold":10"#, INFO, STATIC);
    assert!(early.contains("`healthy_panic_threshold` 20"), "{early}");
    let unsaid = STATIC.replace(r#"{"healthy_panic_threshold":{"value":20}}"#, "{}");
    let unsaid = blockers(r#","panic_threshold":49"#, INFO, &unsaid);
    assert!(unsaid.contains("`healthy_panic_threshold` 50"), "{unsaid}");
    let resolved = blockers("", INFO, &STATIC.replace("EDS", "STRICT_DNS"));
    assert!(resolved.contains("does not read its endpoints from a file"), "{resolved}");
    let managed = STATIC.replace("path_config_source", "api_config_source");
    assert!(blockers("", INFO, &managed).contains("does not read its endpoints from a file"));
    let leaving = blockers("", &INFO.replace("LIVE", "DRAINING"), STATIC);
    assert!(leaving.contains("it is DRAINING"), "{leaving}");
    // Another cluster, a cluster from another source, and an empty dump.
    let other = STATIC.replace(r#""name":"app""#, r#""name":"web""#).replace("EDS", "STATIC");
    assert_eq!(info("", INFO, &other), fit("Envoy 1.40.0"));
    assert_eq!(info("", INFO, "{}"), fit("Envoy 1.40.0"));
    assert_eq!(info("", "", ""), fit("Envoy"));
}
