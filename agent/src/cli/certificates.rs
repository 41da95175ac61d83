//! `portmeter certificates make`: an authority of the operator's own, and what agent and gateway need of it.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use portmeter_listener::tls::{make_set, write_private};

/// What there is to do with certificates.
#[derive(Debug, Subcommand)]
pub(super) enum Arguments {
    /// Make an authority, a certificate for an agent and one for a gateway that asks it
    Make(Make),
}

#[derive(Debug, clap::Args)]
pub(super) struct Make {
    /// Where to write them; the folder is made, and none of the files may be there
    #[arg(long, value_name = "DIR", default_value = "certificates")]
    folder: PathBuf,
    /// A name or address under which the gateway reaches the agent, may be repeated
    #[arg(long = "host", value_name = "HOST", required = true)]
    hosts: Vec<String>,
}

/// Makes them, and says what to do with them.
pub(super) fn run(Arguments::Make(Make { folder, hosts }): Arguments) -> Result<()> {
    let set = make_set(hosts)?;
    let files = [
        ("ca.pem", &set.authority.certificate),
        ("ca-key.pem", &set.authority.key),
        ("agent.pem", &set.agent.certificate),
        ("agent-key.pem", &set.agent.key),
        ("gateway.pem", &set.gateway.certificate),
        ("gateway-key.pem", &set.gateway.key),
    ];
    if let Some((name, _)) = files.iter().find(|(name, _)| folder.join(name).exists()) {
        bail!(
            "{} is there already and in use, perhaps: name another --folder",
            folder.join(name).display()
        );
    }
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    for (name, text) in files {
        let path = folder.join(name);
        write_private(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    let folder = folder.display();
    println!(
        "In {folder}:\n\
         \n  the agent    grpc.tls = \"files\", grpc.tls_certificate = agent.pem, grpc.tls_key = agent-key.pem,\
         \n               grpc.client_ca = ca.pem\
         \n  the gateway  --agent https://HOST:PORT --agent-ca ca.pem --agent-certificate gateway.pem\
         \n               --agent-key gateway-key.pem\n\
         \nKeep ca-key.pem elsewhere: whoever has it can make more. All of them last ten years."
    );
    Ok(())
}
