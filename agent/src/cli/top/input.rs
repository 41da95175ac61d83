//! What a key on the keyboard means.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::columns::Column;
use super::look::Signs;
use super::view::{Change, Mode};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    /// Give the terminal back to the shell until it says to go on.
    Suspend,
    /// Draw everything anew, for what another program has written over it.
    Redraw,
    View(Change),
}

/// A command, for the help.
#[derive(Debug)]
pub(super) struct Help {
    arrows: Option<&'static str>,
    letters: &'static str,
    /// What it does.
    pub(super) what: &'static str,
}

impl Help {
    const fn new(letters: &'static str, what: &'static str) -> Self {
        Self {
            arrows: None,
            letters,
            what,
        }
    }

    const fn with_arrows(arrows: &'static str, letters: &'static str, what: &'static str) -> Self {
        Self {
            arrows: Some(arrows),
            letters,
            what,
        }
    }

    /// The keys that give it, in signs that can be shown.
    pub(super) fn keys(&self, signs: &Signs) -> &'static str {
        self.arrows.filter(|_| signs.are_unicode).unwrap_or(self.letters)
    }
}

/// The commands, the most useful first: the help line shows as many as fit.
pub(super) const HELP: [Help; 10] = [
    Help::new("q", "quit"),
    Help::new("/", "filter"),
    Help::with_arrows("←→", "<>", "sort"),
    Help::new("r", "reverse"),
    Help::with_arrows("↑↓", "jk", "move"),
    Help::new("u", "bits or bytes"),
    Help::new("i", "hide idle"),
    Help::new("?", "help"),
    Help::new("1-9", "sort by a column"),
    Help::new("Esc", "clear the filter"),
];

/// What `key` means in this mode; nothing where it means nothing.
pub(super) fn action(mode: Mode, key: &KeyEvent) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return with_control(mode, key.code);
    }
    let change = match mode {
        Mode::Table if matches!(key.code, KeyCode::Char('q' | 'Q')) => return Some(Action::Quit),
        Mode::Table => command(key.code)?,
        Mode::Filter => text(key.code)?,
        Mode::Help => Change::Back,
    };
    Some(Action::View(change))
}

fn with_control(mode: Mode, code: KeyCode) -> Option<Action> {
    match code {
        KeyCode::Char('c') => Some(Action::Quit),
        KeyCode::Char('z') => Some(Action::Suspend),
        KeyCode::Char('l') => Some(Action::Redraw),
        KeyCode::Char('w') if mode == Mode::Filter => Some(Action::View(Change::EraseWord)),
        KeyCode::Char('u') if mode == Mode::Filter => Some(Action::View(Change::EraseAll)),
        // What Backspace is on some terminals.
        KeyCode::Char('h') if mode == Mode::Filter => Some(Action::View(Change::EraseCharacter)),
        _ => None,
    }
}

fn command(code: KeyCode) -> Option<Change> {
    Some(match code {
        KeyCode::Left | KeyCode::Char('<') => Change::SortMoved(-1),
        KeyCode::Right | KeyCode::Char('>') => Change::SortMoved(1),
        KeyCode::Char('r') => Change::Reverse,
        KeyCode::Up | KeyCode::Char('k') => Change::Move(-1),
        KeyCode::Down | KeyCode::Char('j') => Change::Move(1),
        KeyCode::PageUp => Change::Page(-1),
        KeyCode::PageDown | KeyCode::Char(' ') => Change::Page(1),
        KeyCode::Home | KeyCode::Char('g') => Change::First,
        KeyCode::End | KeyCode::Char('G') => Change::Last,
        KeyCode::Char('/') => Change::Filter,
        KeyCode::Esc => Change::Clear,
        KeyCode::Char('u') => Change::Bits,
        KeyCode::Char('i') => Change::Idle,
        KeyCode::Char('?' | 'h') => Change::Help,
        KeyCode::Char(digit @ '1'..='9') => {
            let place = digit.to_digit(10)? as usize;
            Change::SortBy(*Column::ALL.get(place.checked_sub(1)?)?)
        }
        _ => return None,
    })
}

fn text(code: KeyCode) -> Option<Change> {
    Some(match code {
        KeyCode::Char(character) => Change::Type(character),
        KeyCode::Backspace => Change::EraseCharacter,
        KeyCode::Enter | KeyCode::Up | KeyCode::Down => Change::Accept,
        KeyCode::Esc => Change::Clear,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressed(mode: Mode, code: KeyCode) -> Option<Action> {
        action(mode, &KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn with_control(mode: Mode, letter: char) -> Option<Action> {
        action(mode, &KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL))
    }

    #[test]
    fn a_letter_is_a_command_or_text() {
        assert_eq!(pressed(Mode::Table, KeyCode::Char('q')), Some(Action::Quit));
        assert_eq!(
            pressed(Mode::Filter, KeyCode::Char('q')),
            Some(Action::View(Change::Type('q')))
        );
        assert_eq!(
            pressed(Mode::Help, KeyCode::Char('q')),
            Some(Action::View(Change::Back))
        );
        assert_eq!(pressed(Mode::Table, KeyCode::Char('x')), None);
        assert_eq!(
            pressed(Mode::Table, KeyCode::Char('7')),
            Some(Action::View(Change::SortBy(Column::Today)))
        );
        assert_eq!(pressed(Mode::Table, KeyCode::Char('0')), None);
    }

    #[test]
    fn quitting_works_everywhere() {
        for mode in [Mode::Table, Mode::Filter, Mode::Help] {
            assert_eq!(with_control(mode, 'c'), Some(Action::Quit));
            assert_eq!(with_control(mode, 'z'), Some(Action::Suspend));
        }
        assert_eq!(with_control(Mode::Table, 'w'), None);
        assert_eq!(with_control(Mode::Filter, 'w'), Some(Action::View(Change::EraseWord)));
    }

    #[test]
    fn a_key_that_is_let_go_means_nothing() {
        let released = KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(action(Mode::Table, &released), None);
    }

    #[test]
    fn every_key_of_the_help_line_means_something() {
        let letters = HELP.iter().map(|command| (command.letters, command.what));
        let arrows = HELP.iter().filter_map(|command| Some((command.arrows?, command.what)));
        for (keys, what) in letters.chain(arrows) {
            let codes = match keys {
                "←→" => vec![KeyCode::Left, KeyCode::Right],
                "↑↓" => vec![KeyCode::Up, KeyCode::Down],
                "1-9" => ('1'..='9').map(KeyCode::Char).collect(),
                "Esc" => vec![KeyCode::Esc],
                letters => letters.chars().map(KeyCode::Char).collect(),
            };
            for code in codes {
                assert!(pressed(Mode::Table, code).is_some(), "{keys} for {what}");
            }
        }
    }
}
