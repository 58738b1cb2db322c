//! Debian's nginx with a list of servers that a renderer writes after each change in Consul, and then reloads nginx.
//!
//! Both run on the first node, beside its service: a login there sees nginx's processes and the file.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::config::PORT;
use crate::http;
use crate::node::Node;
use crate::pool::UPSTREAM;
use crate::tools;
use crate::wait::until;

/// How long it may take to answer.
const START: Duration = Duration::from_secs(10);

/// The list before the first rendering.
const NOBODY: &str = "upstream app { server 127.0.0.1:1 down; }\n";

/// The template of consul-template's own documentation, with a list that is never empty.
const TEMPLATE: &str = r#"upstream app {
{{ range service "@SERVICE@" }}  server {{ .Address }}:{{ .Port }};
{{ else }}  server 127.0.0.1:1 down;
{{ end }}}
"#;

/// The program that renders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renderer {
    /// `lab render`.
    StandIn,
    /// The real consul-template, by its path.
    Real(PathBuf),
}

/// A running nginx with a rendered list.
#[derive(Debug)]
pub struct Rendered {
    name: String,
    ip: Ipv4Addr,
}

impl Rendered {
    /// Starts one with a renderer that reads `consul`, and returns when it serves all nodes.
    pub(crate) fn start(
        name: String,
        ip: Ipv4Addr,
        renderer: &Renderer,
        nodes: &[Node],
        consul: &str,
    ) -> Result<Self> {
        let nginx = Self { name, ip };
        nginx.render(renderer, nodes, consul)?;
        Ok(nginx)
    }

    fn render(&self, renderer: &Renderer, nodes: &[Node], consul: &str) -> Result<()> {
        let node = nodes.first().context("a rendered list needs a node")?;
        let directory = node.directory().join(&self.name);
        fs::create_dir(&directory)?;
        let put = |name: &str, text: &str| fs::write(directory.join(name), text);
        let listen = format!("{}:{PORT}", self.ip);
        put("nginx.conf", &include_str!("rendered.conf").replace("@LISTEN@", &listen))?;
        put("app.conf", NOBODY)?;
        put("app.ctmpl", &TEMPLATE.replace("@SERVICE@", UPSTREAM))?;
        let nginx = tools::find("nginx")?;
        let nginx = format!("{} -p {} -e error.log -c nginx.conf", nginx.display(), self.path(""));
        let exec = |command: &str| -> Result<String> {
            let output = node.exec(command)?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "`{command}` on {}: {said}", node.name());
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        exec(&nginx)?;
        let workers = || -> Result<Vec<String>> {
            let children = format!("m=$(cat {}); cat /proc/$m/task/$m/children", self.pid_file());
            Ok(exec(&children)?.split_whitespace().map(str::to_owned).collect())
        };
        let first = workers()?;
        let (file, reload) = (self.file(), format!("{nginx} -s reload"));
        let render = match renderer {
            Renderer::StandIn => format!(
                "/run/lab/lab render --consul {consul} --service {UPSTREAM} --file {file} --command '{reload}'"
            ),
            Renderer::Real(binary) => {
                let program = directory.join("consul-template");
                fs::copy(binary, &program)
                    .with_context(|| format!("could not copy {}", binary.display()))?;
                format!(
                    "{} -consul-addr {consul} -template '{}:{file}:{reload}'",
                    self.path("consul-template"),
                    self.path("app.ctmpl"),
                )
            }
        };
        exec(&format!("setsid {render} </dev/null >>{} 2>&1 &", self.path("render.log")))?;
        until(&format!("all nodes behind {}", self.name), START, || {
            let list = fs::read_to_string(directory.join("app.conf"))?;
            let all = nodes.iter().all(|node| list.contains(&node.address().to_string()));
            // Workers with the empty list still accept requests for a moment.
            let anew = all && !workers()?.iter().any(|worker| first.contains(worker));
            Ok((anew && http::get(&self.url("/ping"))?.status == 200).then_some(()))
        })
        .with_context(|| tools::tail(&directory.join("render.log")))
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the URL of a path behind it; an empty path gives its base.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}:{PORT}{path}", self.ip)
    }

    /// Returns the path of the rendered file on the first node.
    #[must_use]
    pub fn file(&self) -> String {
        self.path("app.conf")
    }

    /// Returns the path of nginx's pid file on the first node.
    #[must_use]
    pub fn pid_file(&self) -> String {
        self.path("nginx.pid")
    }

    fn path(&self, name: &str) -> String {
        format!("/run/node/{}/{name}", self.name)
    }
}
