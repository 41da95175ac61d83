//! A link as a QR code: PNG and SVG for pages and messengers, block characters for a terminal.
//!
//! All three have the quiet zone of four modules that the standard asks for (ISO/IEC 18004, 9.1): readers look for it.

use std::borrow::Cow;

use qrcode::render::{svg, unicode::Dense1x2};
use qrcode::{Color, EcLevel, QrCode};

/// Modules of white around the code.
const QUIET_ZONE: usize = 4;

/// Side of a module in PNG and SVG: a usual link becomes a picture of about 500 pixels.
const MODULE_PIXELS: u32 = 8;

/// Most bytes of any QR code: version 40 with the lowest error correction.
const LENGTH_MAX: usize = 2_953;

/// Most bytes with the middle error correction, those of version 20. Longer links take the lowest: finer modules would
/// cost a camera more than the correction brings.
const MIDDLE_CORRECTION_LENGTH_MAX: usize = 666;

/// The link is longer than any QR code, its name left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the link is longer than the {LENGTH_MAX} bytes that a QR code can have: use the link itself")]
pub struct TooLong;

/// The link as a PNG picture, black on white.
pub fn png(link: &str) -> Result<Vec<u8>, TooLong> {
    let code = code(link)?;
    let modules = code.width() + 2 * QUIET_ZONE;
    let is_dark = |x: usize, y: usize| match (x.checked_sub(QUIET_ZONE), y.checked_sub(QUIET_ZONE)) {
        (Some(x), Some(y)) if x.max(y) < code.width() => code[(x, y)] == Color::Dark,
        _ => false,
    };
    let module = MODULE_PIXELS as usize;
    let mut rows = Vec::new();
    for y in 0..modules {
        // Black is 0, and with a module of eight pixels each is a byte.
        let row: Vec<u8> = (0..modules).map(|x| if is_dark(x, y) { 0x00 } else { 0xff }).collect();
        rows.extend(row.repeat(module));
    }
    Ok(encode_png(modules * module, &rows))
}

/// Rows of a square picture of one bit for each pixel, as PNG.
fn encode_png(side: usize, rows: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let side = u32::try_from(side).expect("a QR code has at most 177 modules");
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(rows)?;
        writer.finish()
    });
    written.expect("a vector takes what is written, and the rows are as many as the header says");
    bytes
}

/// The link as an SVG picture, black on white.
pub fn svg(link: &str) -> Result<String, TooLong> {
    let code = code(link)?;
    Ok(code
        .render::<svg::Color<'_>>()
        .module_dimensions(MODULE_PIXELS, MODULE_PIXELS)
        .build())
}

/// The link in half blocks, two rows of modules a line. The blocks are the white, the quiet zone too: on a dark terminal
/// it is as it should be. On a light one it needs [`for_terminal`].
pub fn text(link: &str) -> Result<String, TooLong> {
    let code = code(link)?;
    let mut text = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build();
    text.push('\n');
    Ok(text)
}

/// What [`text`] has made, in white on black whatever colours the terminal has.
pub fn for_terminal(text: &str) -> String {
    // Numbers 231 and 16 of the 256 colours are white and black; the first 16 are whatever a theme makes of them.
    text.lines()
        .map(|line| format!("\x1b[38;5;231;48;5;16m{line}\x1b[0m\n"))
        .collect()
}

fn code(link: &str) -> Result<QrCode, TooLong> {
    let link = fitting(link)?;
    let correction = match link.len() {
        ..=MIDDLE_CORRECTION_LENGTH_MAX => EcLevel::M,
        _ => EcLevel::L,
    };
    QrCode::with_error_correction_level(link.as_bytes(), correction).map_err(|_| TooLong)
}

/// The link as far as it fits. A name of 255 characters can take 3,060 bytes as it is encoded, more than any QR code has:
/// then the name, which clients only show, is cut after a character. Everything else stays.
fn fitting(link: &str) -> Result<Cow<'_, str>, TooLong> {
    if link.len() <= LENGTH_MAX {
        return Ok(Cow::Borrowed(link));
    }
    let (before, name) = link.split_once('#').ok_or(TooLong)?;
    let room = LENGTH_MAX.checked_sub(before.len() + 1).ok_or(TooLong)?;
    let characters = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
    let mut end = 0;
    for character in characters.chars() {
        let length = encoded_length(&name[end..], character.len_utf8());
        if end + length > room {
            break;
        }
        end += length;
    }
    Ok(Cow::Owned(format!("{before}#{}", &name[..end])))
}

/// How long a character of so many bytes is at the beginning of an encoded name.
fn encoded_length(name: &str, n_bytes: usize) -> usize {
    match name.starts_with('%') {
        true => 3 * n_bytes,
        false => n_bytes,
    }
}

#[cfg(test)]
mod tests;
