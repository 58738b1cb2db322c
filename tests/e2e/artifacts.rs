//! Artifacts other than archives.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rollgate_lab::LabConfig;

use crate::harness::{Bench, quick};

/// Reads a link without a pause.
struct Watch {
    end: Arc<AtomicBool>,
    looks: JoinHandle<Vec<Option<PathBuf>>>,
}

impl Watch {
    fn start(link: PathBuf) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let over = end.clone();
        let looks = std::thread::spawn(move || {
            let mut seen = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let target = std::fs::read_link(&link).ok();
                if seen.last() != Some(&target) {
                    seen.push(target);
                }
                std::thread::sleep(std::time::Duration::from_micros(50));
            }
            seen
        });
        Self { end, looks }
    }

    /// Returns every target of the link in order; `None` is a moment without the link.
    fn end(self) -> Vec<Option<PathBuf>> {
        self.end.store(true, Ordering::Relaxed);
        self.looks.join().expect("no panic")
    }
}

#[test]
fn single_file_artifact_is_staged_verified_activated_atomically_and_pruned() {
    let config = LabConfig::new(2, vec![quick(2)]);
    let bench = Bench::with(config, |playbook| {
        playbook["artifact"]["source"] = "dist/${{ version }}/run".into();
        playbook["artifact"]["keep"] = 1.into();
    });
    let files = ["2", "3", "4"].map(|version| bench.lab.single_file(version).expect("a file"));
    let staged = |index: usize| {
        let names = bench.releases(index).into_iter();
        names.filter(|name| name.starts_with("run-")).collect::<Vec<_>>()
    };

    // The transfer to the second node delivers one byte too many.
    let keys = bench.keys();
    let node = |command: &str| {
        let output = bench.lab.nodes[1].exec(command).expect("the node answers");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    node(
        "cp /bin/cat /srv/cat && printf '#!/bin/sh\\n/srv/cat \"$@\"; echo\\n' >/srv/longer && \
         chmod 755 /srv/longer && mount -n --bind /srv/longer /bin/cat",
    );
    let ran = bench.deploy("2").exits(3).says("node-2, stage: ").says("sha256 is ");
    ran.says("no node left rotation");
    assert_eq!(bench.keys(), keys);
    assert_eq!(staged(1), Vec::<String>::new());
    assert_eq!(node("ls -A /srv/app/releases/.staging"), "", "nothing of it is left");
    node("umount -n /bin/cat");

    let current = bench.lab.nodes[0].path("/srv/app/current").expect("a path");
    let watch = Watch::start(current);
    let load = bench.load();
    bench.deploy("2").exits(0).says("DONE");
    bench.assert_unnoticed(load);
    let targets = watch.end();
    assert_eq!(targets.len(), 2, "from the old release to the new one: {targets:?}");
    for (index, node) in bench.lab.nodes.iter().enumerate() {
        assert_eq!(node.version().as_deref(), Some("2"));
        let [name] = &staged(index)[..] else { panic!("{:?}", staged(index)) };
        let release = Path::new("/srv/app/releases").join(name);
        let current = node.path("/srv/app/current").expect("a path");
        assert_eq!(std::fs::read_link(current).expect("a link"), release);
        let file = node.path(release.join("run").to_str().expect("UTF-8")).expect("a path");
        assert_eq!(std::fs::read(file).expect("read"), std::fs::read(&files[0]).expect("read"));
    }

    let second: Vec<_> = (0..2).map(staged).collect();
    bench.deploy("3").exits(0);
    assert_eq!(staged(0).len(), 2, "what ran before stays, whatever `keep` says");
    bench.deploy("4").exits(0);
    for (index, second) in second.iter().enumerate() {
        assert_eq!(bench.versions()[index].as_deref(), Some("4"));
        let left = staged(index);
        assert!(left.len() == 2 && !left.contains(&second[0]), "the older one is gone: {left:?}");
    }
    bench.assert_nothing_left();
}
