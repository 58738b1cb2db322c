//! The state of each node in rollgate's report and in `status`, compared with the lab's own reading.

use serde_json::Value;

use super::observed_node::ObservedNode;

/// The reported state of a node; unknown parts are none.
#[derive(Clone, Debug, Default)]
pub(super) struct ReportedNode {
    name: String,
    version: Option<String>,
    healthy: Option<bool>,
    down: Option<bool>,
    /// How many gateways route to it.
    gateways: Option<usize>,
    state: String,
}

/// Reads the table of the final report; a release that is done, or that did not start, has none.
pub(super) fn by_report(text: &str) -> Vec<ReportedNode> {
    const HEADINGS: [&str; 6] = ["NODE ", "VERSION", "PROCESS", "KEY", "GATEWAYS", "STATE"];
    let mut lines = text.lines();
    let Some(heading) = lines.find(|line| HEADINGS.iter().all(|heading| line.contains(heading)))
    else {
        return Vec::new();
    };
    let starts = HEADINGS.map(|name| heading.find(name).unwrap_or_default());
    let mut nodes = Vec::new();
    for line in lines.take_while(|line| line.trim_start().starts_with("node-")) {
        let cell = |index: usize| {
            let end = starts.get(index + 1).copied().unwrap_or(line.len());
            line.get(starts[index]..end.min(line.len())).unwrap_or_default().trim().to_owned()
        };
        nodes.push(ReportedNode {
            name: cell(0),
            version: Some(cell(1)).filter(|version| version != "?"),
            healthy: health(&cell(2)),
            down: match cell(3).as_str() {
                "down" => Some(true),
                "up" => Some(false),
                _ => None,
            },
            gateways: gateways(&cell(4)),
            state: cell(5),
        });
    }
    nodes
}

/// Reads the output of `status --output jsonl`.
pub(super) fn by_status(lines: &str) -> Vec<ReportedNode> {
    let events = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let text = |value: &Value| value.as_str().map(str::to_owned);
    events
        .filter(|event| event["type"] == "node.status")
        .map(|event| {
            let data = &event["data"];
            let routed = data["routed"].as_object();
            let known = routed.filter(|routed| routed.values().all(Value::is_boolean));
            ReportedNode {
                name: text(&event["node"]).unwrap_or_default(),
                version: text(&data["version"]),
                healthy: health(data["process"].as_str().unwrap_or_default()),
                down: data["down"].as_bool(),
                gateways: known
                    .map(|known| known.values().filter(|routed| **routed == true).count()),
                state: text(&data["last_release"]).unwrap_or_default(),
            }
        })
        .collect()
}

fn health(word: &str) -> Option<bool> {
    match word {
        "healthy" => Some(true),
        "unhealthy" | "not listening" => Some(false),
        _ => None,
    }
}

fn gateways(words: &str) -> Option<usize> {
    if words.contains("unknown") {
        return None;
    }
    match words.split_once(' ')? {
        ("out", _) => Some(0),
        ("routed", counts) => counts.split('/').next()?.parse().ok(),
        _ => None,
    }
}

/// Returns where the report differs from the lab's reading.
pub(super) fn contradictions(
    told: &[ReportedNode],
    seen: &[ObservedNode],
    old: &str,
    new: &str,
) -> Vec<String> {
    let mut contradictions = Vec::new();
    for seen in seen {
        let Some(told) = told.iter().find(|told| told.name == seen.name) else {
            contradictions.push(format!("{} is missing in the report", seen.name));
            continue;
        };
        let mut differs = |what: String| {
            contradictions.push(format!("{}: reported {what}, observed {seen}", seen.name));
        };
        // A service that does not answer has the installed version.
        if told.healthy != Some(false) && told.version.is_some() && told.version != seen.version {
            differs(format!("on {}", told.version.as_deref().unwrap_or_default()));
        }
        if told.healthy.is_some_and(|healthy| healthy != seen.version.is_some()) {
            differs(format!("healthy: {:?}", told.healthy));
        }
        if told.down.is_some() && seen.down.is_some() && told.down != seen.down {
            differs(format!("down: {:?}", told.down));
        }
        if told.gateways.is_some_and(|gateways| gateways != seen.gateways) {
            differs(format!("routed by {:?}", told.gateways));
        }
        // `done` and `back in rotation unchanged` assert the version, other states only the rotation.
        let version = match told.state.split(", ").next().unwrap_or_default() {
            "done" => Some(new),
            "back in rotation unchanged" | "not updated" => Some(old),
            "failed"
                if told.state.contains("back in rotation") || told.state.contains("untouched") =>
            {
                Some(old)
            }
            _ => None,
        };
        let other =
            seen.version.as_deref().filter(|seen| version.is_some_and(|told| told != *seen));
        if other.is_some() || (told.state.starts_with("OUT") && seen.down == Some(false)) {
            differs(format!("`{}`", told.state));
        }
    }
    contradictions
}

/// Returns the nodes with a missing or unknown state in the report.
pub(super) fn gaps(told: &[ReportedNode]) -> Vec<String> {
    let open = |told: &&ReportedNode| {
        told.healthy.is_none() || told.down.is_none() || told.gateways.is_none()
    };
    told.iter().filter(open).map(|told| told.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::{ObservedNode, by_report, by_status, contradictions, gaps};

    const REPORT: &str = "\
Nodes
        NODE    VERSION  PROCESS        KEY   GATEWAYS                STATE
        node-1  ?        not listening  down  out 2/2                 OUT OF ROTATION, action required
        node-2  1        healthy        up    routed 1/1, 1 unknown   not updated
        1 of 2 nodes serve (min_available 1): version 1 on 1 node.
";

    fn seen(name: &str, version: Option<&str>, down: bool, routing: usize) -> ObservedNode {
        ObservedNode {
            name: name.to_owned(),
            version: version.map(str::to_owned),
            down: Some(down),
            routing,
            workers: 4,
            gateways: routing / 2,
        }
    }

    #[test]
    fn correct_report_has_no_contradiction() {
        let told = by_report(REPORT);
        let truth = [seen("node-1", None, true, 0), seen("node-2", Some("1"), false, 4)];
        assert_eq!(contradictions(&told, &truth, "1", "2"), [""; 0]);
        assert_eq!(gaps(&told), ["node-2"]);
    }

    #[test]
    fn each_wrong_report_is_detected() {
        let told = by_report(REPORT);
        let fine = [seen("node-1", None, true, 0), seen("node-2", Some("1"), false, 4)];
        for lie in [
            [seen("node-1", Some("1"), true, 0), fine[1].clone()],
            [seen("node-1", None, false, 0), fine[1].clone()],
            [seen("node-1", None, true, 2), fine[1].clone()],
            [fine[0].clone(), seen("node-2", Some("2"), false, 4)],
            [fine[0].clone(), seen("node-3", Some("1"), false, 4)],
        ] {
            assert_ne!(contradictions(&told, &lie, "1", "2"), [""; 0], "{lie:?}");
        }
    }

    #[test]
    fn status_is_read_by_its_fields() {
        let line = r#"{"type":"node.status","node":"node-1","data":{"version":"2","process":"healthy",
            "down":false,"routed":{"gw-1":true,"gw-2":true},"last_release":"done"}}"#;
        let told = by_status(&line.replace('\n', " "));
        assert_eq!(
            contradictions(&told, &[seen("node-1", Some("2"), false, 4)], "1", "2"),
            [""; 0]
        );
        assert_ne!(
            contradictions(&told, &[seen("node-1", Some("1"), false, 4)], "1", "2"),
            [""; 0]
        );
        assert!(gaps(&told).is_empty());
    }
}
