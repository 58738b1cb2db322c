//! `init`: the playbook that it writes passes `check` and `doctor`, and releases.

use rollgate_lab::{HaproxyConfig, LabConfig, Reach};

use crate::caddy::assert_cut_at_caddies_only;
use crate::harness::{Bench, lagging, quick};

/// Writes a playbook with these options and without a terminal, and releases version 2 with it.
#[track_caller]
fn releases(bench: &Bench, options: &[&str], kinds: &[&str]) {
    let file = bench.lab.directory().join("first.yaml");
    let file = file.to_str().expect("a path in UTF-8");
    let config = bench.lab.ssh_config();
    let config = config.to_str().expect("a path in UTF-8");
    let mut arguments = vec!["--service", "app", "--ssh-config", config];
    arguments.extend(["--artifact", "dist/app-${{ version }}.tar.gz"]);
    arguments.extend(["--stop", "/srv/app/ctl stop", "--start", "/srv/app/ctl start"]);
    let nodes = bench.lab.nodes.iter();
    let nodes: Vec<_> =
        nodes.map(|node| format!("{0}={1}@{0}", node.name(), node.address())).collect();
    arguments.extend(nodes.iter().flat_map(|node| ["--node", node]));
    arguments.extend(options);
    bench.run_on(file, &["init"], &arguments).exits(0).says("Health check: /ping answers 200");
    let page = std::fs::read_to_string(file).expect("a playbook");
    let types = page.lines().filter_map(|line| line.trim().strip_prefix("- type: "));
    assert_eq!(types.collect::<Vec<_>>(), kinds, "{page}");
    assert!(
        page.contains("identity: { header: x-app-version, equals: '${{ version }}' }"),
        "{page}"
    );
    bench.run_on(file, &["init"], &arguments).exits(2).says("exists already");
    bench.run_on(file, &["check"], &[]).exits(0);
    bench.run_on(file, &["doctor"], &["--var", "version=2"]).exits(0);
    let load = bench.load();
    bench.run_on(file, &["deploy"], &["--var", "version=2", "--yes"]).exits(0);
    let totals = load.stop();
    assert_cut_at_caddies_only(&totals, bench);
    assert!(bench.versions().iter().all(|version| version.as_deref() == Some("2")));
}

/// An address without its path.
fn base(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    format!("{scheme}://{}", rest.split('/').next().unwrap_or(rest))
}

#[test]
fn playbook_for_keys_in_consul_is_found_and_releases() {
    let bench = Bench::new(2, vec![quick(2), lagging()]);
    let consul = bench.lab.consul.addresses().remove(0);
    let gateways: Vec<_> =
        bench.lab.gateways.iter().map(|gateway| base(&gateway.status_url())).collect();
    let [first, second] = gateways.as_slice() else { panic!("two gateways") };
    let second = format!("{second},workers=2,sync_interval=200ms");
    let options = ["--consul", &consul, "--gateway", first, "--gateway", &second];
    releases(&bench, &options, &["nginx-upsync", "nginx-upsync"]);
}

#[test]
fn kinds_of_gateways_with_an_own_api_are_recognised_and_release() {
    let haproxies = vec![HaproxyConfig::new(Reach::Socket), HaproxyConfig::new(Reach::Page)];
    let config = LabConfig {
        haproxies,
        envoys: 1,
        traefiks: 1,
        caddies: 1,
        ..LabConfig::new(2, Vec::new())
    };
    let bench = Bench::with(config, |_| {});
    let lab = &bench.lab;
    let machine = |url: String, file: &str| format!("{url},ssh=node-1,file={file}");
    let envoy = machine(lab.envoys[0].admin_url(), &lab.envoys[0].file());
    let file = lab.traefiks[0].file().expect("a file");
    let gateways = [
        format!("node-1:/run/node/{}.sock", lab.haproxies[0].name()),
        format!("http://{}/stats", lab.haproxies[1].page()),
        lab.caddies[0].admin_url(),
        envoy + ",panic_threshold=0",
        machine(lab.traefiks[0].api_url(), &file),
    ];
    let options: Vec<_> = gateways.iter().flat_map(|gateway| ["--gateway", gateway]).collect();
    releases(&bench, &options, &["haproxy", "haproxy", "caddy", "envoy", "traefik"]);
}
