//! The running agent that a command speaks to: this machine's, through its unix socket, or one elsewhere, over TCP.

use std::error::Error;
use std::path::PathBuf;

use anyhow::{Result, anyhow, ensure};
use portmeter_gateway::Transport;
use portmeter_gateway::cli::{API_KEY_VARIABLE, api_key};
use portmeter_listener::tls::ClientFiles;
use portmeter_proto::api_key::ApiKey;
use portmeter_proto::v1::GetVersionRequest;
use portmeter_proto::v1::system_service_client::SystemServiceClient;
use tonic::Status;

use crate::instance::socket_path;

/// The largest answer taken from an agent, in bytes: lists of keys and their figures grow with the ports, of which there
/// are 32,768 at most, at less than half a kilobyte each.
pub(super) const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Which agent is asked.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Which agent")]
pub(super) struct RunningAgent {
    /// The agent's instance on this machine
    #[arg(
        long,
        value_name = "NAME",
        default_value = "default",
        env = "PORTMETER_AGENT__INSTANCE",
        global = true
    )]
    instance: String,
    /// Ask an agent elsewhere, at its gRPC address: HOST:PORT, https://HOST:PORT or unix:/absolute/path
    #[arg(long, value_name = "ADDR", global = true)]
    address: Option<String>,
    /// A file that holds the API key for --address; without it the key is taken from PORTMETER_API_KEY
    #[arg(long, value_name = "FILE", global = true)]
    api_key_file: Option<PathBuf>,
    /// The certificate authority of an agent at https://, or its self-signed certificate
    #[arg(long, value_name = "FILE", global = true)]
    agent_ca: Option<PathBuf>,
    /// The certificate to show to an agent that asks for one (grpc.client_ca)
    #[arg(long, value_name = "FILE", global = true)]
    agent_certificate: Option<PathBuf>,
    /// The private key of --agent-certificate
    #[arg(long, value_name = "FILE", global = true)]
    agent_key: Option<PathBuf>,
}

/// What it takes to reach an agent.
struct Way {
    address: String,
    api_key: Option<ApiKey>,
    tls: Option<ClientFiles>,
}

impl RunningAgent {
    /// A way to it on which it has answered. The connection comes back by itself when the agent does.
    pub(super) async fn connect(&self) -> Result<Transport> {
        let way = self.way(std::env::var(API_KEY_VARIABLE).ok().as_deref())?;
        let transport = Transport::connect(&way.address, way.api_key.as_ref(), way.tls)?;
        let mut system = SystemServiceClient::new(transport.clone());
        let answer = system.get_version(GetVersionRequest {}).await;
        answer.map_err(|status| self.absence(&status))?;
        Ok(transport)
    }

    /// What it is called in a heading: its address, or its instance's name.
    pub(super) fn name(&self) -> &str {
        self.address.as_deref().unwrap_or(&self.instance)
    }

    /// How it is reached; `variable` is the API key from the environment.
    fn way(&self, variable: Option<&str>) -> Result<Way> {
        let Some(address) = &self.address else {
            let names = [
                ("--api-key-file", self.api_key_file.is_some()),
                ("--agent-ca", self.agent_ca.is_some()),
                ("--agent-certificate", self.agent_certificate.is_some()),
                ("--agent-key", self.agent_key.is_some()),
            ];
            let needless = names.into_iter().find(|(_, is_given)| *is_given);
            ensure!(
                needless.is_none(),
                "{} is for an agent elsewhere: name it with --address",
                needless.map_or("", |(name, _)| name)
            );
            return Ok(Way {
                address: format!("unix:{}", socket_path(&self.instance).display()),
                api_key: None,
                tls: None,
            });
        };
        let api_key = match address.starts_with("unix:") {
            true => None,
            false => Some(api_key(self.api_key_file.as_deref(), variable)?),
        };
        Ok(Way {
            address: address.clone(),
            api_key,
            tls: self.tls()?,
        })
    }

    fn tls(&self) -> Result<Option<ClientFiles>> {
        let own = self.agent_certificate.clone().zip(self.agent_key.clone());
        let is_half = self.agent_certificate.is_some() != self.agent_key.is_some();
        ensure!(!is_half, "--agent-certificate and --agent-key go together");
        ensure!(
            own.is_none() || self.agent_ca.is_some(),
            "--agent-certificate goes with --agent-ca, by which the agent is known"
        );
        let files = |authority| ClientFiles { authority, own };
        Ok(self.agent_ca.clone().map(files))
    }

    /// Why it has not answered.
    fn absence(&self, status: &Status) -> anyhow::Error {
        match (cause(status), &self.address) {
            (None, _) => anyhow!("{}", status.message()),
            (Some(_), None) => anyhow!(
                "no agent answers at {}: start one with `portmeter run`, name another with --instance, or ask as its owner",
                socket_path(&self.instance).display()
            ),
            (Some(cause), Some(address)) => anyhow!("no agent answers at {address}: {cause}"),
        }
    }
}

/// The agent's sentence; where there is none, because the connection has failed, the connection's.
pub(super) fn refusal(status: Status) -> anyhow::Error {
    anyhow!("{}", sentence(&status))
}

/// The same as text.
pub(super) fn sentence(status: &Status) -> String {
    match cause(status) {
        Some(cause) => format!("the agent cannot be reached: {cause}"),
        None => status.message().to_owned(),
    }
}

/// Why a call has not come as far as the agent; nothing where the agent itself has refused it.
fn cause(status: &Status) -> Option<String> {
    let mut cause: &dyn Error = status.source()?;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Some(cause.to_string())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    const KEY: &str = "0123456789abcdef";

    fn here() -> RunningAgent {
        RunningAgent {
            instance: "second".to_owned(),
            address: None,
            api_key_file: None,
            agent_ca: None,
            agent_certificate: None,
            agent_key: None,
        }
    }

    fn at(address: &str) -> RunningAgent {
        RunningAgent {
            address: Some(address.to_owned()),
            ..here()
        }
    }

    fn refused(agent: &RunningAgent) -> String {
        let way = agent.way(Some(KEY));
        way.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn this_machines_agent_is_asked_through_its_socket_without_a_key() {
        let way = here().way(Some(KEY)).unwrap();
        assert_eq!(way.address, "unix:/run/portmeter/second/agent.sock");
        assert!(way.api_key.is_none() && way.tls.is_none());
        let way = at("unix:/run/portmeter/third/agent.sock").way(None).unwrap();
        assert!(way.api_key.is_none());
    }

    #[test]
    fn an_agent_elsewhere_is_sent_the_key() {
        let way = at("192.0.2.1:50051").way(Some(KEY)).unwrap();
        assert!(way.api_key.unwrap().matches(KEY.as_bytes()) && way.tls.is_none());
        let error = at("192.0.2.1:50051").way(None).err().unwrap().to_string();
        assert!(
            error.contains("--api-key-file") && error.contains("PORTMETER_API_KEY"),
            "{error}"
        );
        let agent = RunningAgent {
            agent_ca: Some("ca.pem".into()),
            agent_certificate: Some("own.pem".into()),
            agent_key: Some("own-key.pem".into()),
            ..at("https://192.0.2.1:50051")
        };
        let tls = agent.way(Some(KEY)).unwrap().tls.unwrap();
        assert_eq!(tls.own, Some(("own.pem".into(), "own-key.pem".into())));
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        let agent = RunningAgent {
            api_key_file: Some("api.key".into()),
            ..here()
        };
        assert_eq!(
            refused(&agent),
            "--api-key-file is for an agent elsewhere: name it with --address"
        );
        let agent = RunningAgent {
            agent_key: Some("own-key.pem".into()),
            ..at("https://192.0.2.1:50051")
        };
        assert_eq!(refused(&agent), "--agent-certificate and --agent-key go together");
        let agent = RunningAgent {
            agent_certificate: Some("own.pem".into()),
            ..agent
        };
        assert!(refused(&agent).contains("goes with --agent-ca"));
    }

    #[test]
    fn the_agents_own_sentence_is_told_apart_from_a_connection_that_fails() {
        let refused = Status::unauthenticated("Invalid API key.");
        assert_eq!(sentence(&refused), "Invalid API key.");
        assert_eq!(at("192.0.2.1:1").absence(&refused).to_string(), "Invalid API key.");
        let lost = Status::from_error(Box::new(io::Error::other("connection refused")));
        assert_eq!(sentence(&lost), "the agent cannot be reached: connection refused");
        assert_eq!(
            at("192.0.2.1:1").absence(&lost).to_string(),
            "no agent answers at 192.0.2.1:1: connection refused"
        );
        assert!(
            here()
                .absence(&lost)
                .to_string()
                .contains("/run/portmeter/second/agent.sock")
        );
    }
}
