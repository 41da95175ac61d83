//! Every picture is read by a QR reader, which is to find the link in it.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::xray::link::{FINGERPRINT, LinkKey, LinkServer, vless_url};
use crate::xray::reality::{PrivateKey, ShortId};
use crate::xray::wanted::Reality;

fn link(name: &str) -> String {
    let key = LinkKey {
        uuid: Uuid::new_v4(),
        name,
        port: 10_001,
    };
    let reality = Reality {
        private_key: PrivateKey::generate(),
        short_ids: vec![ShortId::generate()],
        dest: "www.microsoft.com:443".to_owned(),
        server_names: vec!["www.microsoft.com".to_owned()],
    };
    let server = LinkServer {
        host: "vpn.example.com",
        fingerprint: FINGERPRINT,
        flow: "xtls-rprx-vision",
    };
    vless_url(&server, &key, &reality)
}

/// What a reader finds in a square picture; `is_light` by column and row.
fn scan(side: usize, is_light: impl Fn(usize, usize) -> bool) -> String {
    let shade = |x, y| if is_light(x, y) { 255 } else { 0 };
    let mut picture = rqrr::PreparedImage::prepare_from_greyscale(side, side, shade);
    let found = picture.detect_grids();
    assert_eq!(found.len(), 1, "a reader finds {} codes", found.len());
    found[0].decode().unwrap().1
}

fn scan_png(bytes: &[u8]) -> String {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.bit_depth), (info.height, png::BitDepth::Eight));
    let side = info.width as usize;
    let quiet = QUIET_ZONE * MODULE_PIXELS as usize;
    let in_zone = |at: usize| at < quiet || at >= side - quiet;
    for (at, pixel) in pixels.iter().enumerate() {
        assert!(
            *pixel == 255 || !(in_zone(at % side) || in_zone(at / side)),
            "the quiet zone has a spot"
        );
    }
    scan(side, |x, y| pixels[y * side + x] == 255)
}

/// Draws the rectangles of a path, which is all that the SVG has.
fn scan_svg(svg: &str) -> String {
    let number = |text: &str| -> usize { text.parse().unwrap() };
    let side = number(svg.split("width=\"").nth(1).unwrap().split('"').next().unwrap());
    let path = svg.split("d=\"").nth(1).unwrap().split('"').next().unwrap();
    let mut is_light = vec![true; side * side];
    for rectangle in path.split('M').skip(1) {
        let parts: Vec<_> = rectangle.split([' ', 'h', 'v', 'H']).map(str::to_owned).collect();
        let (left, top, width, height) = (
            number(&parts[0]),
            number(&parts[1]),
            number(&parts[2]),
            number(&parts[3]),
        );
        for y in top..top + height {
            is_light[y * side + left..y * side + left + width].fill(false);
        }
    }
    scan(side, |x, y| is_light[y * side + x])
}

/// Reads blocks as light, the way a dark terminal shows them, each module three pixels wide.
fn scan_text(text: &str) -> String {
    const PIXELS: usize = 3;
    let rows: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
    let width = rows[0].len();
    assert!(rows.iter().all(|row| row.len() == width));
    let is_light = |x: usize, y: usize| match rows[y / 2][x] {
        '█' => true,
        '▀' => y.is_multiple_of(2),
        '▄' => !y.is_multiple_of(2),
        ' ' => false,
        other => panic!("{other:?} in a code"),
    };
    for at in 0..width {
        for edge in (0..QUIET_ZONE).chain(width - QUIET_ZONE..width) {
            assert!(is_light(at, edge) && is_light(edge, at), "the quiet zone has a hole");
        }
    }
    scan(width * PIXELS, |x, y| is_light(x / PIXELS, y / PIXELS))
}

#[test]
fn every_picture_is_read_as_the_link() {
    for name in ["user@example.com", "Bob Müller", &"a".repeat(255), &"ю".repeat(255)] {
        let link = link(name);
        assert_eq!(scan_png(&png(&link).unwrap()), link);
        assert_eq!(scan_svg(&svg(&link).unwrap()), link);
        assert_eq!(scan_text(&text(&link).unwrap()), link);
    }
}

#[test]
fn a_usual_link_is_a_picture_of_fitting_size() {
    let bytes = png(&link("user@example.com")).unwrap();
    let reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
    assert!((400..=700).contains(&reader.info().width), "{}", reader.info().width);
    assert!(bytes.len() < 8_000, "{} bytes", bytes.len());
}

#[test]
fn only_the_name_is_cut_and_only_where_nothing_else_helps() {
    let long = link(&"🔑".repeat(255));
    assert!(long.len() > LENGTH_MAX);
    let read = scan_png(&png(&long).unwrap());
    assert!(long.starts_with(&read) && read.len() > LENGTH_MAX - 12);
    let name = read.split_once('#').unwrap().1;
    assert!(name.len().is_multiple_of(12), "half a character is left of {name}");

    assert_eq!(png(&format!("vless://{}#name", "a".repeat(LENGTH_MAX))), Err(TooLong));
    assert_eq!(text(&"a".repeat(LENGTH_MAX + 1)), Err(TooLong));
}

#[test]
fn a_terminal_is_told_both_colours() {
    let plain = text(&link("a")).unwrap();
    let coloured = for_terminal(&plain);
    assert_eq!(coloured.lines().count(), plain.lines().count());
    for (coloured, plain) in coloured.lines().zip(plain.lines()) {
        assert_eq!(coloured, format!("\x1b[38;5;231;48;5;16m{plain}\x1b[0m"));
    }
}

proptest! {
    #[test]
    fn what_fits_is_the_beginning_of_the_link(name in prop::collection::vec(any::<char>(), 0..=255)) {
        let name: String = name.into_iter().collect();
        let link = link(&name);
        let fitting = fitting(&link).unwrap();
        prop_assert!(link.starts_with(&*fitting) && fitting.len() <= LENGTH_MAX);
        prop_assert!(fitting.len() > LENGTH_MAX - 12 || *fitting == *link);
        let kept = percent_encoding::percent_decode_str(fitting.split_once('#').unwrap().1);
        prop_assert!(name.starts_with(&*kept.decode_utf8().unwrap()));
    }
}
