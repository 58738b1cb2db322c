//! What the operator says: as options of the command, or as answers to questions.

use crate::ops::{Cause, Refusal};

/// What the options of the command say.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// The service's name.
    pub service: Option<String>,
    /// The name of the folder, for the question.
    pub folder: Option<String>,
    /// The prefix of the keys in Consul.
    pub prefix: Option<String>,
    /// The service in Consul.
    pub consul_service: Option<String>,
    /// The nodes.
    pub nodes: Vec<NodeAnswer>,
    /// The gateways.
    pub gateways: Vec<GatewayAnswer>,
    /// The gateways' name for the pool.
    pub upstream: Option<String>,
    /// The user for ssh.
    pub ssh_user: Option<String>,
    /// A configuration of ssh.
    pub ssh_config: Option<String>,
    /// The command that stops the service.
    pub stop: Option<String>,
    /// The command that starts the service.
    pub start: Option<String>,
    /// The path of the health check, or `tcp`.
    pub health: Option<String>,
    /// The artifact. An empty text: there is none.
    pub artifact: Option<String>,
}

/// A node as the operator names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeAnswer {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its machine, if it is not the host of its address.
    pub ssh: Option<String>,
    /// Its address: `host:port`.
    pub address: String,
}

impl NodeAnswer {
    /// Reads `[NAME=]HOST:PORT[@SSH]`.
    ///
    /// # Errors
    ///
    /// If there is no port.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, rest) = match text.split_once('=') {
            Some((name, rest)) => (Some(name.to_owned()), rest),
            None => (None, text),
        };
        let (address, ssh) = match rest.split_once('@') {
            Some((address, ssh)) => (address, Some(ssh.to_owned())),
            None => (rest, None),
        };
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none() {
            return Err(format!("`{address}` has no port: expected HOST:PORT"));
        }
        Ok(Self { name, ssh, address: address.to_owned() })
    }
}

/// A gateway as the operator names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GatewayAnswer {
    /// Its URL, socket or port.
    pub address: Option<String>,
    /// Keys of the playbook.
    pub keys: Vec<(String, String)>,
}

impl GatewayAnswer {
    /// Reads `ADDRESS[,KEY=VALUE…]`, or only keys.
    ///
    /// # Errors
    ///
    /// If a part after the first is no key with a value.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut answer = Self::default();
        for (index, part) in text.split(',').enumerate() {
            let key = part.split_once('=').filter(|(key, _)| {
                key.chars().all(|character| character.is_ascii_lowercase() || character == '_')
            });
            match key {
                Some((key, value)) => answer.keys.push((key.to_owned(), value.to_owned())),
                None if index == 0 && !part.is_empty() => answer.address = Some(part.to_owned()),
                None => return Err(format!("`{part}` is not KEY=VALUE")),
            }
        }
        Ok(answer)
    }

    /// The value of a key.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&str> {
        self.keys.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The operator, or a job without one.
pub trait Interview {
    /// Chooses one of several things that were found. `option`: how the command line says it.
    ///
    /// # Errors
    ///
    /// If there is no terminal to ask.
    fn choose(&mut self, question: &str, found: &[String], option: &str) -> Result<usize, Refusal>;

    /// Asks for a text. `option`: how the command line says it.
    ///
    /// # Errors
    ///
    /// If there is no terminal to ask, and no default.
    fn ask(
        &mut self,
        question: &str,
        default: Option<&str>,
        option: &str,
    ) -> Result<String, Refusal>;

    /// Whether there is a terminal to ask.
    fn is_possible(&self) -> bool;

    /// Tells what was found.
    fn tell(&mut self, text: &str);
}

/// The refusal when something is unknown and there is no terminal to ask.
#[must_use]
pub fn unanswered(question: &str, option: &str) -> Refusal {
    Refusal::new(Cause::Invalid, format!("{question}: unknown, and there is no terminal to ask"))
        .hint(format!("add {option}"))
}

impl Answers {
    pub(super) fn service(&self, interview: &mut impl Interview) -> Result<String, Refusal> {
        match &self.service {
            Some(service) => Ok(service.clone()),
            None => interview.ask("Name of the service", self.folder.as_deref(), "--service NAME"),
        }
    }

    pub(super) fn artifact(
        &self,
        interview: &mut impl Interview,
    ) -> Result<Option<String>, Refusal> {
        let text = match &self.artifact {
            Some(artifact) => artifact.clone(),
            None if interview.is_possible() => interview.ask(
                "Artifact to copy to the nodes, e.g. dist/app-${{ version }}.tar.gz (empty: none)",
                Some(""),
                "--artifact FILE",
            )?,
            None => String::new(),
        };
        Ok(Some(text).filter(|text| !text.trim().is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_has_an_address_and_perhaps_a_name_and_a_machine() {
        let node = |name: Option<&str>, address: &str, ssh: Option<&str>| NodeAnswer {
            name: name.map(str::to_owned),
            ssh: ssh.map(str::to_owned),
            address: address.to_owned(),
        };
        assert_eq!(NodeAnswer::parse("10.0.0.1:80"), Ok(node(None, "10.0.0.1:80", None)));
        assert_eq!(
            NodeAnswer::parse("a=[::1]:80@me@host"),
            Ok(node(Some("a"), "[::1]:80", Some("me@host")))
        );
        assert!(NodeAnswer::parse("10.0.0.1").expect_err("refused").contains("has no port"));
    }

    #[test]
    fn gateway_has_an_address_or_keys() {
        let answer = GatewayAnswer::parse("http://g:80/l?app,workers=4").expect("valid");
        assert_eq!(answer.address.as_deref(), Some("http://g:80/l?app"));
        assert_eq!(answer.key("workers"), Some("4"));
        let answer = GatewayAnswer::parse("type=dyups,url=http://g").expect("valid");
        assert_eq!((answer.address.as_ref(), answer.key("url")), (None, Some("http://g")));
        assert!(GatewayAnswer::parse("http://g,x").expect_err("refused").contains("`x` is not"));
    }
}
