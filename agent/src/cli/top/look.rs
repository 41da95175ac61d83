//! Colours, attributes and signs.
//!
//! No meaning is in a colour alone: rx and tx have headings, what is wrong is said in words and in bold. The two colours
//! are told apart by people who see less of red or green, and `NO_COLOR` takes them away (<https://no-color.org>).

use ratatui::style::{Color, Modifier, Style};

/// How everything looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) rx: Style,
    pub(super) tx: Style,
    pub(super) graph: Style,
    pub(super) heading: Style,
    /// Figures that are not of now, keys that are disabled, help.
    pub(super) faint: Style,
    pub(super) selected: Style,
    pub(super) alarm: Style,
    pub(super) signs: Signs,
}

/// Characters beyond letters and figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signs {
    /// Whether there are arrows.
    pub(super) are_unicode: bool,
    /// From nothing to the most.
    pub(super) levels: &'static [char],
    pub(super) descending: &'static str,
    pub(super) ascending: &'static str,
    /// In place of what has no room.
    pub(super) more: &'static str,
    pub(super) unknown: &'static str,
    /// Between two things on a line.
    pub(super) between: &'static str,
}

/// For terminals that show any character.
const UNICODE: Signs = Signs {
    are_unicode: true,
    levels: &[' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
    descending: "▼",
    ascending: "▲",
    more: "…",
    unknown: "–",
    between: " · ",
};

/// For those that show ASCII only.
const ASCII: Signs = Signs {
    are_unicode: false,
    levels: &[' ', '.', ':', '-', '=', '+', '*', '#', '@'],
    descending: "v",
    ascending: "^",
    more: "~",
    unknown: "-",
    between: " | ",
};

impl Look {
    /// What the environment asks for.
    pub(super) fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let is_coloured = variable("NO_COLOR").is_none_or(|value| value.is_empty());
        // The first of them that is set counts, as everywhere.
        let names = ["LC_ALL", "LC_CTYPE", "LANG"];
        let locale = names.into_iter().filter_map(&variable).find(|value| !value.is_empty());
        let locale = locale.unwrap_or_default().to_lowercase();
        let is_unicode = ["utf-8", "utf8"].iter().any(|encoding| locale.contains(encoding));
        Self::new(is_coloured, if is_unicode { UNICODE } else { ASCII })
    }

    fn new(is_coloured: bool, signs: Signs) -> Self {
        let coloured = |color| match is_coloured {
            true => Style::new().fg(color),
            false => Style::new(),
        };
        Self {
            rx: coloured(Color::Cyan),
            tx: coloured(Color::Yellow),
            graph: coloured(Color::Cyan),
            heading: Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
            faint: Style::new().add_modifier(Modifier::DIM),
            selected: Style::new().add_modifier(Modifier::REVERSED),
            alarm: Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED),
            signs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(variables: &[(&str, &str)]) -> Look {
        Look::from_environment(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn no_color_takes_the_colours_and_leaves_the_attributes() {
        let plain = look(&[("NO_COLOR", "1"), ("LANG", "C.UTF-8")]);
        for style in [plain.rx, plain.tx, plain.graph, plain.alarm, plain.faint] {
            assert_eq!((style.fg, style.bg), (None, None));
        }
        assert!(plain.alarm.add_modifier.contains(Modifier::BOLD));
        assert_eq!(look(&[("NO_COLOR", "")]).rx.fg, Some(Color::Cyan));
    }

    #[test]
    fn signs_are_those_that_the_locale_can_show() {
        for (variables, expected) in [
            (&[("LANG", "en_GB.UTF-8")] as &[_], UNICODE),
            (&[("LANG", "en_GB.UTF-8"), ("LC_ALL", "C")], ASCII),
            (&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8")], UNICODE),
            (&[], ASCII),
        ] {
            assert_eq!(look(variables).signs, expected, "{variables:?}");
        }
        assert_eq!(UNICODE.levels.len(), ASCII.levels.len());
        assert!(ASCII.levels.iter().all(char::is_ascii));
    }
}
