//! How things look: what each is for is a [`Role`], and a theme gives it its style.
//!
//! Colours are the terminal's own sixteen: they take few bytes and fit what its owner chose. Nothing is told by colour
//! alone: words, marks and the shape of bars say the same.

use ratatui::style::{Color, Modifier, Style};

/// Which colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Palette {
    /// On a dark ground.
    #[default]
    Dark,
    /// On a light ground.
    Light,
    /// No colour: bold, dim and reversed only.
    None,
}

/// Which signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Glyphs {
    /// Blocks and lines, where the locale is UTF-8.
    #[default]
    Unicode,
    /// What every terminal has.
    Ascii,
}

/// How things look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Theme {
    /// Its colours.
    pub palette: Palette,
    /// Its signs.
    pub glyphs: Glyphs,
}

/// What something is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Plain,
    Heading,
    Dim,
    Good,
    Warn,
    Bad,
    /// Worse than bad, and the whole screen should say so.
    Alarm,
    Selected,
    /// What is usual.
    Usual,
}

impl Theme {
    /// The next one in turn.
    pub(super) fn next(self) -> Self {
        let palette = match self.palette {
            Palette::Dark => Palette::Light,
            Palette::Light => Palette::None,
            Palette::None => Palette::Dark,
        };
        Self { palette, ..self }
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self.palette {
            Palette::Dark => "dark",
            Palette::Light => "light",
            Palette::None => "no colour",
        }
    }

    pub(super) fn style(self, role: Role) -> Style {
        let style = Style::new();
        let bold = style.add_modifier(Modifier::BOLD);
        let (good, warn, bad, usual) = match self.palette {
            Palette::Dark => (Color::Green, Color::Yellow, Color::LightRed, Color::Cyan),
            Palette::Light => (Color::Green, Color::Magenta, Color::Red, Color::Blue),
            Palette::None => (Color::Reset, Color::Reset, Color::Reset, Color::Reset),
        };
        let coloured = |style: Style, color| if color == Color::Reset { style } else { style.fg(color) };
        match role {
            Role::Plain => style,
            Role::Heading => coloured(bold, usual),
            Role::Dim => style.add_modifier(Modifier::DIM),
            Role::Good => coloured(style, good),
            Role::Warn => coloured(bold, warn),
            Role::Bad => coloured(bold, bad),
            Role::Alarm => coloured(bold, bad).add_modifier(Modifier::REVERSED),
            Role::Selected => style.add_modifier(Modifier::REVERSED),
            Role::Usual => coloured(style, usual),
        }
    }

    /// Eighths of a column or row, from none to full.
    pub(super) fn heights(self) -> [&'static str; 9] {
        match self.glyphs {
            Glyphs::Unicode => [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
            Glyphs::Ascii => [" ", ".", ".", ":", ":", "+", "+", "#", "#"],
        }
    }

    /// Part of a bar that is more than usual, part that is not, the line of what is usual.
    pub(super) fn chart(self) -> (&'static str, &'static str, &'static str) {
        match self.glyphs {
            Glyphs::Unicode => ("█", "▒", "┄"),
            Glyphs::Ascii => ("#", "=", "-"),
        }
    }

    /// A bar's filled and empty part.
    pub(super) fn bar(self) -> (&'static str, &'static str) {
        match self.glyphs {
            Glyphs::Unicode => ("█", "·"),
            Glyphs::Ascii => ("#", "."),
        }
    }

    /// Where a bar has no height, on its ground.
    pub(super) fn nothing(self) -> &'static str {
        match self.glyphs {
            Glyphs::Unicode => "·",
            Glyphs::Ascii => "_",
        }
    }

    /// A rule beside a heading.
    pub(super) fn rule(self) -> &'static str {
        match self.glyphs {
            Glyphs::Unicode => "─",
            Glyphs::Ascii => "-",
        }
    }

    /// What stands before the line that is chosen.
    pub(super) fn mark(self) -> &'static str {
        match self.glyphs {
            Glyphs::Unicode => "▸",
            Glyphs::Ascii => ">",
        }
    }
}
