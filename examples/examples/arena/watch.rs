//! The terminal as a screen and a keyboard. Whoever leads has put it into the state for that, and puts it back.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    ops::ControlFlow,
    time::Duration,
};

use bytes::Bytes;
use crossterm::{
    cursor, event,
    event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    execute, terminal,
};
use peercompute_kernel::{InputSource, Moment, RenderSink};

use crate::{
    args::PlayMode,
    failure::Failure,
    game::{Player, SIDE, keys},
    table::{Frame, command},
};

/// Terminals tell of keys that go down and are repeated, not of those that go up: a key is held for so long after it was told of last.
const HOLD: Duration = Duration::from_millis(350);

/// Not more than 30 frames a second.
const PACE: Duration = Duration::from_millis(33);

/// The terminal while it shows the arena; dropping it puts everything back.
pub(crate) struct Stage;

impl Stage {
    pub(crate) fn enter() -> Result<Self, Failure> {
        let unable = |error: io::Error| {
            Failure::usage(format!("--watch: the terminal cannot be used: {error}"))
        };
        terminal::enable_raw_mode().map_err(unable)?;
        // From here on it is put back whatever happens.
        let stage = Self;
        execute!(io::stderr(), terminal::EnterAlternateScreen, cursor::Hide).map_err(unable)?;
        Ok(stage)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // There is nothing else to be done about it.
        let _ = execute!(io::stderr(), cursor::Show, terminal::LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}

/// The keys of one player: arrows or WASD, space, and q.
#[derive(Debug, Default)]
pub(crate) struct Keyboard {
    /// Until when each is held, by the room's time.
    held: [(u8, Duration); 5],
    down: u8,
}

impl InputSource for Keyboard {
    fn poll(&mut self, moment: Moment, commands: &mut Vec<Bytes>) -> ControlFlow<()> {
        while event::poll(Duration::ZERO).unwrap_or(false) {
            let Ok(Event::Key(key)) = event::read() else {
                continue;
            };
            if key.kind == KeyEventKind::Release {
                continue;
            }
            if is_quit(key) {
                return ControlFlow::Break(());
            }
            if let Some((place, bit)) = key_of(key) {
                self.held[place] = (bit, moment.time + HOLD);
            }
        }
        let held = self.held.iter().filter(|(_, until)| *until > moment.time);
        let down = held.fold(0, |down, (bit, _)| down | bit);
        if std::mem::replace(&mut self.down, down) != down {
            commands.push(command(moment, down));
        }
        ControlFlow::Continue(())
    }
}

fn is_quit(key: KeyEvent) -> bool {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
        || (is_control && key.code == KeyCode::Char('c'))
}

fn key_of(key: KeyEvent) -> Option<(usize, u8)> {
    Some(match key.code {
        KeyCode::Up | KeyCode::Char('w') => (0, keys::FORWARD),
        KeyCode::Down | KeyCode::Char('s') => (1, keys::BACK),
        KeyCode::Left | KeyCode::Char('a') => (2, keys::LEFT),
        KeyCode::Right | KeyCode::Char('d') => (3, keys::RIGHT),
        KeyCode::Char(' ') => (4, keys::FIRE),
        _ => return None,
    })
}

/// Draws the arena with letters.
#[derive(Debug)]
pub(crate) struct Terminal {
    mode: PlayMode,
    colour: bool,
    last: Option<Duration>,
}

impl Terminal {
    pub(crate) fn new(mode: PlayMode) -> Self {
        Self {
            mode,
            colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            last: None,
        }
    }

    fn draw(&self, frame: &Frame, columns: u16, rows: u16) -> String {
        let height = usize::from(rows.saturating_sub(5)).clamp(4, 40);
        let width = (2 * height).min(usize::from(columns.saturating_sub(24)).max(8));
        let mut cells = vec![vec![(' ', ""); width]; height];
        let mut put = |x: i32, y: i32, cell| {
            let scale = |place: i32, cells: usize| {
                let place = place.clamp(0, SIDE - 1) as usize;
                place * cells / SIDE as usize
            };
            cells[scale(y, height)][scale(x, width)] = cell;
        };
        let state = &frame.state;
        for shot in &state.shots {
            put(shot.x, shot.y, ('·', "33"));
        }
        for player in state.players.iter().filter(|it| it.out == 0) {
            let colour = if player.peer == frame.me {
                "1;32"
            } else {
                "36"
            };
            put(player.x, player.y, (glyph(player), colour));
        }
        let mut lines = vec![format!(
            "arena, {}   tick {}   {} others   {}",
            self.mode.name(),
            state.tick,
            frame.peers,
            match frame.host {
                Some(host) if host == frame.me => "you are the host",
                Some(_) => "",
                None => "no host",
            }
        )];
        lines.push(format!("┌{}┐", "─".repeat(width)));
        let mut ranks: Vec<&Player> = state.players.iter().collect();
        ranks.sort_by_key(|it| (std::cmp::Reverse(it.score), it.seat));
        let mut ranks = ranks.into_iter();
        for row in &cells {
            let mut line = String::from("│");
            for (glyph, colour) in row {
                self.paint(&mut line, colour, *glyph);
            }
            line.push('│');
            if let Some(player) = ranks.next() {
                let who = if player.peer == frame.me {
                    "you"
                } else {
                    "bot"
                };
                let health = match player.out {
                    0 => format!("{:>3}", player.health),
                    _ => "out".to_owned(),
                };
                let (seat, score) = (player.seat, player.score);
                // A string takes everything.
                let _ = write!(line, "  {who} {seat:>2}  {health}  {score:>3}");
            }
            lines.push(line);
        }
        lines.push(format!("└{}┘", "─".repeat(width)));
        lines.push("arrows or WASD move, space shoots, q ends the game".to_owned());
        let mut screen = String::from("\x1b[H");
        for line in lines {
            screen.push_str(&line);
            screen.push_str("\x1b[K\r\n");
        }
        screen.push_str("\x1b[J");
        screen
    }

    fn paint(&self, line: &mut String, colour: &str, glyph: char) {
        if colour.is_empty() || !self.colour {
            line.push(glyph);
        } else {
            // A string takes everything.
            let _ = write!(line, "\x1b[{colour}m{glyph}\x1b[0m");
        }
    }
}

impl RenderSink<Frame> for Terminal {
    fn render(&mut self, moment: Moment, frame: &Frame) -> ControlFlow<()> {
        let is_early =
            |last: Duration| moment.time.saturating_sub(last) < PACE && moment.time >= last;
        if self.last.is_some_and(is_early) {
            return ControlFlow::Continue(());
        }
        self.last = Some(moment.time);
        let (columns, rows) = terminal::size().unwrap_or((80, 24));
        let screen = self.draw(frame, columns, rows);
        let mut out = io::stderr().lock();
        match out.write_all(screen.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => ControlFlow::Continue(()),
            // The terminal has gone.
            Err(_) => ControlFlow::Break(()),
        }
    }
}

/// Where it looks, to the nearest eighth of a turn; down is y.
fn glyph(player: &Player) -> char {
    const GLYPHS: [char; 8] = ['→', '↘', '↓', '↙', '←', '↖', '↑', '↗'];
    GLYPHS[usize::from(player.heading.wrapping_add(16) / 32)]
}
