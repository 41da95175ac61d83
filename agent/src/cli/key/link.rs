//! `portmeter key link`: the one line, and the QR code, that a customer is given.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use portmeter_gateway::Transport;
use portmeter_proto::v1::{GetKeyLinkRequest, GetKeyLinkResponse, GetKeyQrCodeRequest, QrCodeFormat};
use serde_json::json;
use tempfile::NamedTempFile;

use super::{Chosen, Client, output};
use crate::cli::chosen_key::key_id;
use crate::cli::running_agent::refusal;
use crate::xray::qr;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    chosen: Chosen,
    /// Show the link as a QR code, too
    #[arg(long)]
    qr: bool,
    /// Write the QR code to an SVG file instead of showing the link
    #[arg(long, value_name = "FILE", conflicts_with = "png")]
    svg: Option<PathBuf>,
    /// Write the QR code to a PNG file instead of showing the link
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
}

/// What is to be shown.
pub(super) async fn run(
    transport: &Transport,
    client: &mut Client,
    arguments: Arguments,
    is_json: bool,
) -> Result<String> {
    anyhow::ensure!(
        !(is_json && arguments.qr),
        "--json goes without --qr, which is for people"
    );
    let Arguments { chosen, qr, svg, png } = arguments;
    let key = key_id(transport, &chosen.key).await?;
    let file = match (svg, png) {
        (Some(file), _) => Some((file, QrCodeFormat::Svg)),
        (None, png) => png.map(|file| (file, QrCodeFormat::Png)),
    };
    let mut text = String::new();
    match &file {
        Some((file, format)) => write(file, &picture(client, &key, *format).await?)?,
        None => text.push_str(&link(client, &key, is_json).await?),
    }
    if qr {
        let blocks = String::from_utf8(picture(client, &key, QrCodeFormat::Text).await?)?;
        text.push_str(&match std::io::stdout().is_terminal() {
            true => qr::for_terminal(&blocks),
            false => blocks,
        });
    }
    Ok(text)
}

async fn link(client: &mut Client, key: &str, is_json: bool) -> Result<String> {
    let request = GetKeyLinkRequest { key_id: key.to_owned() };
    let answer = client.get_key_link(request).await.map_err(refusal)?.into_inner();
    Ok(match is_json {
        true => as_json(&answer),
        false => answer.vless_url + "\n",
    })
}

fn as_json(answer: &GetKeyLinkResponse) -> String {
    output::line(&json!({
        "vless_url": answer.vless_url,
        "short_id": answer.short_id,
        "subscription_token": answer.subscription_token,
    }))
}

async fn picture(client: &mut Client, key: &str, format: QrCodeFormat) -> Result<Vec<u8>> {
    let request = GetKeyQrCodeRequest {
        key_id: key.to_owned(),
        format: format.into(),
    };
    let answer = client.get_key_qr_code(request).await.map_err(refusal)?;
    Ok(answer.into_inner().image)
}

/// Whole or not at all, and only for who runs this: the picture is the link.
fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let written = NamedTempFile::new_in(folder).and_then(|mut new| {
        new.write_all(bytes)?;
        new.persist(file).map_err(|failed| failed.error)
    });
    written.with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_picture_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("link.png");
        std::fs::write(&file, "old").unwrap();
        write(&file, b"new").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        let error = write(&folder.path().join("missing/link.png"), b"").unwrap_err();
        assert!(error.to_string().ends_with("link.png cannot be written"), "{error}");
    }

    #[test]
    fn json_has_the_link_and_the_token_if_there_is_one() {
        let answer = GetKeyLinkResponse {
            key: None,
            vless_url: "vless://x".to_owned(),
            short_id: "ff".to_owned(),
            subscription_token: None,
        };
        assert_eq!(
            as_json(&answer),
            "{\"vless_url\":\"vless://x\",\"short_id\":\"ff\",\"subscription_token\":null}\n"
        );
    }
}
