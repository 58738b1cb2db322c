//! The sections of manual pages that the command line does not have: exit codes, files, environment, examples.

use clap::Command;
use roff::{Inline, Roff, bold, roman};

/// The exit codes and their meanings, as in the README.
const CODES: [(&str, &str); 12] = [
    ("0", "done, or nothing to do"),
    ("1", "internal error before any node left rotation, or the output could not be written"),
    ("2", "wrong usage, or invalid playbook or plan file"),
    ("3", "refused before any node left rotation"),
    ("4", "another release holds the lock, or took it during this release"),
    ("5", "the plan is stale: something was changed since it was made"),
    ("6", "`plan --detailed-exitcode`: there are changes"),
    (
        "10",
        "stopped on request, in a safe state (`resume` continues), or the operator did not confirm",
    ),
    (
        "20",
        "the release (or `rollback`, `resume`) did not finish, for example because a node failed; the other nodes \
         serve; the report shows the state",
    ),
    ("21", "failed and rolled back; the old version serves everywhere"),
    (
        "22",
        "failed and not recovered: too few nodes serve, the automatic rollback of a node (`on_failure`) failed, a \
         state is unknown, or an internal error interrupted the release. Page someone",
    ),
    ("130, 143", "second signal; the journal is complete"),
];

/// The exit codes of `status --exit-code`, as in the README.
const STATES: [(&str, &str); 4] = [
    ("0", "every node is healthy, in rotation, and runs the same version"),
    (
        "1",
        "a node is out of rotation, unhealthy or on another version, or the last release was interrupted. A node that \
         `node out` holds counts, too, until `node in`",
    ),
    ("2", "a release is in progress"),
    ("3", "the registry, a gateway or the lock cannot be read"),
];

/// The environment variables.
const ENVIRONMENT: [(&str, &str); 9] = [
    (
        "ROLLGATE_VAR_<name>",
        "the variable `name` of the playbook; `--var` and `--var-file` override it",
    ),
    ("ROLLGATE_STATE_DIR", "the folder of the journals, as `--state-dir`"),
    (
        "CONSUL_HTTP_ADDR",
        "where Consul is, unless the playbook names it. Likewise `CONSUL_HTTP_SSL`, `CONSUL_HTTP_SSL_VERIFY`, \
         `CONSUL_CACERT`, `CONSUL_CAPATH`, `CONSUL_CLIENT_CERT`, `CONSUL_CLIENT_KEY`, `CONSUL_TLS_SERVER_NAME`, \
         `CONSUL_DATACENTER`, `CONSUL_NAMESPACE`, `CONSUL_PARTITION`",
    ),
    (
        "CONSUL_HTTP_TOKEN",
        "Consul's token; `CONSUL_HTTP_TOKEN_FILE`: its file; `CONSUL_HTTP_AUTH`: user and password. Their values are \
         never shown, and commands on nodes do not get them",
    ),
    ("NO_COLOR", "if it is set and not empty: no colours, as `--color never`"),
    ("CI", "if it is set: plain lines also on a terminal, as `--output plain`"),
    (
        "GITHUB_ACTIONS, GITLAB_CI, JENKINS_URL",
        "the CI system, whose form the log gets; `--ci` overrides them. With `GITHUB_STEP_SUMMARY`, the end of a release \
         is also written into that file",
    ),
    (
        "XDG_RUNTIME_DIR, TMPDIR",
        "where the sockets of SSH connections are; their path must be short",
    ),
    (
        "SSH_AUTH_SOCK",
        "the agent with the keys for the nodes. `ssh` reads it, with its own configuration",
    ),
];

/// The files.
const FILES: [(&str, &str); 4] = [
    (
        "app.yaml",
        "the playbook of a service, with any name. `rollgate schema` prints its JSON Schema",
    ),
    (
        ".rollgate/SERVICE/RELEASE/journal.jsonl",
        "the events of each release, beside the playbook or in `--state-dir`. Consul has a copy, if the playbook names \
         Consul",
    ),
    ("~/.ssh/config", "how nodes are reached, as for `ssh`"),
    ("~/.ssh/known_hosts", "the keys of the nodes, as for `ssh`"),
];

/// What is special to one command.
struct Special {
    /// The command's words after `rollgate`.
    command: &'static str,
    codes: &'static [&'static str],
    examples: &'static [(&'static str, &'static str)],
}

const READ: &[&str] = &["0", "1", "2", "3", "10", "130, 143"];
const RELEASE: &[&str] = &["0", "1", "2", "3", "4", "10", "20", "21", "22", "130, 143"];
const TEXT: &[&str] = &["0", "1", "2"];

const SPECIAL: &[Special] = &[
    Special {
        command: "",
        codes: &["0", "1", "2", "3", "4", "5", "6", "10", "20", "21", "22", "130, 143"],
        examples: &[
            (
                "Check a playbook, see what a release would do, then release:",
                "rollgate check app.yaml",
            ),
            ("", "rollgate plan app.yaml --var version=2"),
            ("", "rollgate deploy app.yaml --var version=2"),
            ("See the state of every node, and the next command:", "rollgate status app.yaml"),
            (
                "Continue after a failure, or return to the version before:",
                "rollgate resume app.yaml",
            ),
            ("", "rollgate rollback app.yaml"),
        ],
    },
    Special {
        command: "init",
        codes: READ,
        examples: &[
            ("Ask on a terminal:", "rollgate init app.yaml"),
            (
                "Without a terminal:",
                "rollgate init app.yaml --service app --ssh-user deploy --artifact 'dist/app-${{ version }}.tar.gz'",
            ),
        ],
    },
    Special {
        command: "check",
        codes: TEXT,
        examples: &[
            ("Every problem of a file, for people and for programs:", "rollgate check app.yaml"),
            ("", "rollgate check app.yaml --output jsonl"),
        ],
    },
    Special {
        command: "doctor",
        codes: READ,
        examples: &[("Before the first release:", "rollgate doctor app.yaml --var version=2")],
    },
    Special {
        command: "plan",
        codes: &["0", "1", "2", "3", "6", "10", "130, 143"],
        examples: &[
            ("What a release would do:", "rollgate plan app.yaml --var version=2"),
            (
                "Exit with 6 if there are changes, for CI:",
                "rollgate plan app.yaml --var version=2 --detailed-exitcode",
            ),
            ("A rolling restart:", "rollgate plan app.yaml --restart"),
            (
                "Write the plan to a file, for a release that does exactly this:",
                "rollgate plan app.yaml --var version=2 --out app.plan",
            ),
        ],
    },
    Special {
        command: "deploy",
        codes: &["0", "1", "2", "3", "4", "5", "10", "20", "21", "22", "130, 143"],
        examples: &[
            ("Ask for confirmation on a terminal:", "rollgate deploy app.yaml --var version=2"),
            ("In CI:", "rollgate deploy app.yaml --var version=2 --yes --lock-wait 10m"),
            (
                "Only the nodes with the tag canary, then at most two of the others:",
                "rollgate deploy app.yaml --var version=2 --only canary",
            ),
            ("", "rollgate deploy app.yaml --var version=2 --skip canary --limit 2"),
            (
                "Restart every node with the version that it runs:",
                "rollgate deploy app.yaml --restart",
            ),
            ("Exactly what a plan file says, or nothing:", "rollgate deploy --plan app.plan"),
        ],
    },
    Special {
        command: "resume",
        codes: RELEASE,
        examples: &[
            ("The last release:", "rollgate resume app.yaml"),
            ("With the corrected playbook:", "rollgate resume app.yaml --use-current"),
        ],
    },
    Special {
        command: "rollback",
        codes: RELEASE,
        examples: &[
            ("The last release:", "rollgate rollback app.yaml"),
            ("One node of a certain release:", "rollgate rollback app.yaml 1a2b3c4d --only app-1"),
        ],
    },
    Special {
        command: "status",
        codes: READ,
        examples: &[
            ("For people:", "rollgate status app.yaml"),
            ("For a monitoring system:", "rollgate status app.yaml --exit-code --quiet"),
        ],
    },
    Special {
        command: "history",
        codes: READ,
        examples: &[
            ("The last releases:", "rollgate history app.yaml"),
            (
                "Those of a node in the last week:",
                "rollgate history app.yaml --node app-1 --since 7d",
            ),
        ],
    },
    Special {
        command: "show",
        codes: READ,
        examples: &[
            ("The last release, and where the time of each node went:", "rollgate show app.yaml"),
            ("The events of a certain release:", "rollgate show app.yaml 1a2b3c4d --output jsonl"),
            ("A page of it:", "rollgate show app.yaml 1a2b3c4d --html release.html"),
        ],
    },
    Special {
        command: "node",
        codes: RELEASE,
        examples: &[
            (
                "Hold a node out of rotation, then return it:",
                "rollgate node out app.yaml app-1 --reason 'disk replaced'",
            ),
            ("", "rollgate node in app.yaml app-1"),
        ],
    },
    Special {
        command: "node out",
        codes: RELEASE,
        examples: &[(
            "Hold two nodes out of rotation:",
            "rollgate node out app.yaml app-1 app-2 --reason 'new kernel'",
        )],
    },
    Special {
        command: "node in",
        codes: RELEASE,
        examples: &[("Return a node to rotation:", "rollgate node in app.yaml app-1")],
    },
    Special {
        command: "lock",
        codes: READ,
        examples: &[("Which process holds the lock:", "rollgate lock show app.yaml")],
    },
    Special {
        command: "lock show",
        codes: READ,
        examples: &[("Which process holds the lock:", "rollgate lock show app.yaml")],
    },
    Special {
        command: "lock break",
        codes: READ,
        examples: &[("Take the lock from a release that hangs:", "rollgate lock break app.yaml")],
    },
    Special {
        command: "schema",
        codes: TEXT,
        examples: &[
            ("For an editor:", "rollgate schema > rollgate.schema.json"),
            ("For a program that reads the output:", "rollgate schema events > events.schema.json"),
        ],
    },
    Special {
        command: "completions",
        codes: TEXT,
        examples: &[
            ("In ~/.bashrc:", "source <(rollgate completions bash)"),
            ("In ~/.config/fish/config.fish:", "rollgate completions fish | source"),
        ],
    },
    Special {
        command: "man",
        codes: TEXT,
        examples: &[
            ("Read a page:", "rollgate man deploy | man -l -"),
            ("Install all pages:", "rollgate man --out /usr/local/share/man/man1"),
        ],
    },
];

/// Returns the further sections of a command's page.
pub(super) fn render(command: &Command, name: &str) -> String {
    let words = name.strip_prefix("rollgate").unwrap_or(name).trim_start_matches('-');
    let special = SPECIAL.iter().find(|special| special.command.replace(' ', "-") == words);
    let mut roff = Roff::new();
    if let Some(special) = special {
        let codes = CODES.iter().filter(|(code, _)| special.codes.contains(code));
        table(&mut roff, "EXIT STATUS", codes);
        if words == "status" {
            roff.control("PP", []);
            roff.text(inline("With `--exit-code`, if it could answer:"));
            entries(&mut roff, STATES.iter());
        }
    }
    if words.is_empty() {
        table(&mut roff, "ENVIRONMENT", ENVIRONMENT.iter());
        table(&mut roff, "FILES", FILES.iter());
    }
    if let Some(special) = special {
        examples(&mut roff, special.examples);
    }
    roff.control("SH", ["SEE ALSO"]);
    let below = command.get_subcommands().filter(|command| !command.is_hide_set());
    let below = below.filter_map(Command::get_display_name).map(str::to_owned);
    let above = name.rsplit_once('-').map(|(above, _)| above.to_owned());
    let others: Vec<_> = above.into_iter().chain(below).map(|name| format!("{name}(1)")).collect();
    roff.text([roman(others.join(", "))]);
    roff.render()
}

fn table<'a>(roff: &mut Roff, title: &str, rows: impl Iterator<Item = &'a (&'a str, &'a str)>) {
    roff.control("SH", [title]);
    entries(roff, rows);
}

fn entries<'a>(roff: &mut Roff, rows: impl Iterator<Item = &'a (&'a str, &'a str)>) {
    for (term, text) in rows {
        roff.control("TP", []);
        roff.text([bold(*term)]);
        roff.text(inline(text));
    }
}

fn examples(roff: &mut Roff, examples: &[(&str, &str)]) {
    roff.control("SH", ["EXAMPLES"]);
    for (index, (text, command)) in examples.iter().enumerate() {
        if index > 0 && !text.is_empty() {
            roff.control("PP", []);
        }
        if !text.is_empty() {
            roff.text([roman(*text)]);
        }
        roff.control("PP", []);
        roff.control("RS", ["4"]);
        roff.control("nf", []);
        roff.text([bold(*command)]);
        roff.control("fi", []);
        roff.control("RE", []);
    }
}

/// Sets what is between backquotes in bold.
fn inline(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate();
    parts.map(|(index, part)| if index % 2 == 0 { roman(part) } else { bold(part) }).collect()
}
