//! The terminal: taken when the view begins, and given back as it was however the view ends, panics included.

use std::io::{self, Stdout, Write, stdout};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use nix::sys::signal::{Signal, raise};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Size;
use ratatui::{Frame, Terminal};

/// Whether the terminal is this process's to give back.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// A terminal that is drawn on; given back when dropped.
pub(super) struct Screen(Terminal<CrosstermBackend<Stdout>>);

impl Screen {
    /// Takes the terminal: its own screen, no cursor, each key as it is pressed.
    pub(super) fn enter() -> io::Result<Self> {
        give_back_on_panic();
        take()?;
        match Terminal::new(CrosstermBackend::new(stdout())) {
            Ok(terminal) => Ok(Self(terminal)),
            Err(error) => {
                give_back()?;
                Err(error)
            }
        }
    }

    /// Draws what has changed.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.0.draw(draw).map(drop)
    }

    /// How large it is.
    pub(super) fn size(&self) -> io::Result<Size> {
        self.0.size()
    }

    /// Forgets what is on it, so that everything is drawn anew.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.0.clear()
    }

    /// Stops the process as Ctrl-Z does elsewhere, with the terminal given back meanwhile.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        give_back()?;
        // Here the process stands still until it is told to go on.
        raise(Signal::SIGTSTP)?;
        take()?;
        self.clear()
    }

    /// Gives the terminal back, and says whether that went well.
    pub(super) fn leave(self) -> io::Result<()> {
        give_back()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Whoever drops it has an error to tell already, or has left.
        let _ = give_back();
    }
}

fn take() -> io::Result<()> {
    IS_TAKEN.store(true, Ordering::SeqCst);
    let taken = enable_raw_mode().and_then(|()| enter(&mut stdout()));
    if taken.is_err() {
        let _ = give_back();
    }
    taken
}

/// Does nothing where it is given back already.
fn give_back() -> io::Result<()> {
    if !IS_TAKEN.swap(false, Ordering::SeqCst) {
        return Ok(());
    }
    // Both, whatever becomes of the first.
    let left = leave(&mut stdout());
    disable_raw_mode()?;
    left
}

fn enter(terminal: &mut impl Write) -> io::Result<()> {
    execute!(terminal, EnterAlternateScreen, Hide)
}

fn leave(terminal: &mut impl Write) -> io::Result<()> {
    execute!(terminal, LeaveAlternateScreen, Show)
}

/// A panic's message is to be read: it comes after the terminal is given back, from whichever thread.
fn give_back_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let _ = give_back();
            tell(panic);
        }));
    });
}

#[cfg(test)]
mod tests;
