//! Envoy 1.40 with its endpoints in a file, in JSON or in YAML.

use rollgate::node::NodeScript;
use serde_json::{Value, json};

use crate::replay::{Answer, NODES, Question, Seen, Subject};

const CLUSTERS: &str = include_str!("../../fixtures/gateway/envoy/clusters.json");

pub(crate) enum Envoy {
    Json,
    Yaml,
}

impl Subject for Envoy {
    fn name(&self) -> &'static str {
        match self {
            Self::Json => "envoy",
            Self::Yaml => "envoy with YAML",
        }
    }

    fn gateway(&self) -> Value {
        let file = match self {
            Self::Json => "/etc/envoy/eds/app.json",
            Self::Yaml => "/etc/envoy/eds/app.yaml",
        };
        json!({
            "type": "envoy", "admin_url": "http://gw:9901", "cluster": "app", "ssh": "gw",
            "file": file,
        })
    }

    fn counts(&self) -> bool {
        true
    }

    fn forgets(&self) -> bool {
        false
    }

    fn answer(&self, question: &Question<'_>, seen: &Seen) -> Answer {
        let cluster = if seen.knows { "app" } else { "other" };
        match question {
            Question::Run(NodeScript::File { .. }) => Answer::ok(match self {
                Self::Json => file(cluster, seen.down),
                Self::Yaml => yaml(cluster, seen.down),
            }),
            Question::Write(content) if *content == yaml(cluster, written(content)) => {
                Answer { effect: Some(written(content)), ..Answer::ok("") }
            }
            Question::Write(content) => {
                let file: Value = serde_json::from_str(content).expect("JSON");
                let list = file.pointer("/resources/0/endpoints/0/lb_endpoints").expect("a list");
                let down = |index: usize| list[index]["health_status"] == "DRAINING";
                Answer { effect: Some([0, 1, 2].map(down)), ..Answer::ok("") }
            }
            question => {
                assert_eq!(question.says(), "Get http://gw:9901/clusters?format=json");
                Answer::ok(clusters(cluster, seen))
            }
        }
    }
}

fn file(cluster: &str, down: [bool; 3]) -> String {
    let endpoints = NODES.iter().zip(down).map(|(node, down)| {
        let (ip, port) = node.split_once(':').expect("a port");
        let port: u16 = port.parse().expect("a number");
        json!({
            "endpoint": { "address": { "socket_address": { "address": ip, "port_value": port } } },
            "health_status": if down { "DRAINING" } else { "HEALTHY" },
        })
    });
    let endpoints: Vec<_> = endpoints.collect();
    let assignment = json!({
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": cluster,
        "endpoints": [{ "lb_endpoints": endpoints }],
    });
    json!({ "resources": [assignment] }).to_string()
}

/// The same in YAML, with comments.
fn yaml(cluster: &str, down: [bool; 3]) -> String {
    let endpoints = NODES.iter().zip(down).map(|(node, down)| {
        let (ip, port) = node.split_once(':').expect("a port");
        let status = if down { "DRAINING" } else { "HEALTHY" };
        format!(
            "    - endpoint: {{ address: {{ socket_address: {{ address: '{ip}', port_value: {port} }} }} }}\n      \
             health_status: {status} # kept by hand\n"
        )
    });
    format!(
        "resources:\n- '@type': type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\n  \
         cluster_name: {cluster}\n  endpoints:\n  - lb_endpoints:\n{}",
        endpoints.collect::<String>()
    )
}

/// Which nodes a written file in YAML has down.
fn written(content: &str) -> [bool; 3] {
    let lines = content.lines().filter(|line| line.contains("health_status"));
    let down: Vec<_> = lines.map(|line| line.contains("DRAINING")).collect();
    down.try_into().unwrap_or_default()
}

fn clusters(cluster: &str, seen: &Seen) -> String {
    let mut shown: Value = serde_json::from_str(CLUSTERS).expect("JSON");
    shown["cluster_statuses"][0]["name"] = cluster.into();
    for (index, down) in seen.down.into_iter().enumerate() {
        let host = &mut shown["cluster_statuses"][0]["host_statuses"][index];
        let told = if down { "DRAINING" } else { "HEALTHY" };
        host["health_status"]["eds_health_status"] = told.into();
        let stats = host["stats"].as_array_mut().expect("a list");
        let active = stats.iter_mut().find(|stat| stat["name"] == "rq_active").expect("a gauge");
        let active = active.as_object_mut().expect("a gauge");
        active.remove("value");
        if index == 0 && seen.in_flight > 0 {
            active.insert("value".into(), seen.in_flight.to_string().into());
        }
    }
    shown.to_string()
}
