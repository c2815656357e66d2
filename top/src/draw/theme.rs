//! Colours and other marks. Without colour, words and weights say the same.

use jobqueue_inspect::source::Standing;
use ratatui::style::{Color, Modifier, Style};

/// How things look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Theme {
    /// Whether there are colours.
    pub(crate) colour: bool,
}

impl Theme {
    fn coloured(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    pub(super) fn standing(self, standing: Standing) -> Style {
        match standing {
            Standing::Stalled | Standing::NotReady => self.problem(),
            Standing::Degraded | Standing::Failures => self.coloured(Color::Yellow).add_modifier(Modifier::BOLD),
            Standing::Fine => self.coloured(Color::Green),
        }
    }

    /// What a person should know.
    pub(super) fn problem(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// Of a curve.
    pub(super) fn curve(self) -> Style {
        self.coloured(Color::Cyan)
    }

    #[expect(clippy::unused_self, reason = "all looks are asked of the theme")]
    pub(super) fn title(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    #[expect(clippy::unused_self, reason = "all looks are asked of the theme")]
    pub(super) fn aside(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    #[expect(clippy::unused_self, reason = "all looks are asked of the theme")]
    pub(super) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}
