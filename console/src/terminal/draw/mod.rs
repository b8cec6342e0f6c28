//! A screen of cells: which part stands where, for any size there is.
//!
//! Each part is a function that gives its lines for a number of columns and rows; this file puts them in their places. From
//! 70 by 20 on everything is there; below, parts stand under each other, the most important first, until the rows end.

mod chart;
mod detail;
mod figures;
mod headline;
mod help;
mod histograms;
mod incidents;
mod status;
mod tables;
#[cfg(test)]
mod tests;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::theme::Role;
use super::{Screen, words};
use crate::board::IncidentCard;

/// Columns and rows from which parts stand side by side.
const WIDE_COLUMNS: u16 = 70;
const WIDE_ROWS: u16 = 20;
/// Columns of the parts on the left, of 80.
const LEFT_COLUMNS: u16 = 34;

/// Rows of each part, without its heading, at 80x24.
const INCIDENT_ROWS: u16 = 3;
const CHART_ROWS: u16 = 5;
const FIGURE_ROWS: u16 = 3;
const TABLE_ROWS: u16 = 4;
/// With so many rows below the list of incidents, there is a look into the one that is chosen.
const LOOK_ROWS_MIN: usize = 2;
/// More figures than this are not there.
const FIGURE_ROWS_MAX: u16 = 8;

/// Rows of each part.
struct Rows {
    incidents: u16,
    chart: u16,
    figures: u16,
    tables: u16,
}

impl Rows {
    /// Of so many rows between the headline and the status line, with four headings among them.
    fn of(rows: u16) -> Self {
        let least = INCIDENT_ROWS + CHART_ROWS + FIGURE_ROWS + TABLE_ROWS + 4;
        let Some(more) = rows.checked_sub(least) else {
            let tables = TABLE_ROWS.saturating_sub(least - rows);
            return Self { incidents: INCIDENT_ROWS, chart: CHART_ROWS, figures: FIGURE_ROWS, tables };
        };
        let figures = FIGURE_ROWS + more.min(FIGURE_ROWS_MAX - FIGURE_ROWS);
        let more = more - (figures - FIGURE_ROWS);
        let (incidents, chart) = (INCIDENT_ROWS + more / 3, CHART_ROWS + more / 4);
        Self { incidents, chart, figures, tables: TABLE_ROWS + more - more / 3 - more / 4 }
    }
}

/// How an incident is told when the screen is gone: measured, usual, sources.
pub(super) fn ended(card: &IncidentCard) -> String {
    format!("{}, {}", headline::measured(card), incidents::sources(card)).trim_end_matches(", ").to_owned()
}

impl Screen<'_> {
    /// Draws all of it.
    pub fn draw(&self, area: Rect, buffer: &mut Buffer) {
        if area.width == 0 || area.height == 0 {
            return;
        }
        let mut page = Page { buffer, area, at: 0 };
        page.put(vec![headline::title(self, area.width)]);
        let rest = area.height.saturating_sub(2);
        if self.view.is_help {
            page.put(scrolled(help::lines(self, area.width), self.view.scrolled, rest));
        } else if let Some(lines) = detail::lines(self, area.width) {
            page.put(scrolled(lines, self.view.scrolled, rest));
        } else if area.width >= WIDE_COLUMNS && area.height >= WIDE_ROWS {
            self.wide(&mut page);
        } else {
            self.narrow(&mut page);
        }
        if area.height > 1 {
            page.at = area.height - 1;
            let left = self.scrolled_max(area).saturating_sub(self.view.scrolled);
            page.put(vec![status::line(self, area.width, left)]);
        }
    }

    /// Rows that a long text may be scrolled by.
    pub(super) fn scrolled_max(&self, area: Rect) -> u16 {
        let lines = match self.view.is_help {
            true => help::lines(self, area.width),
            false => detail::lines(self, area.width).unwrap_or_default(),
        };
        u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_sub(area.height.saturating_sub(2))
    }

    fn wide(&self, page: &mut Page<'_>) {
        let columns = page.area.width;
        let headline = headline::lines(self, columns, 4);
        let rows = Rows::of((page.area.height - 2).saturating_sub(headline.len() as u16));
        page.put(headline);
        page.put(vec![self.heading(&incidents::heading(self), columns)]);
        let mut listed = incidents::lines(self, columns, rows.incidents);
        if usize::from(rows.incidents) >= listed.len() + LOOK_ROWS_MIN {
            listed.extend(detail::look(self, columns));
            listed.truncate(usize::from(rows.incidents));
        }
        page.fill(listed, rows.incidents);
        let left = LEFT_COLUMNS + columns.saturating_sub(80) / 6;
        let right = columns - left - 1;
        page.side_by_side(
            left,
            (self.heading(&figures::health_heading(self), left), figures::health(self, left)),
            (self.heading(&chart::heading(self), right), chart::lines(self, right, rows.chart)),
            rows.chart,
        );
        page.side_by_side(
            left,
            (self.heading(&figures::handshake_heading(self), left), figures::handshakes(self, left)),
            (
                self.heading(&figures::times_heading(self, rows.figures), right),
                figures::times(self, right, rows.figures),
            ),
            rows.figures,
        );
        if rows.tables >= 2 {
            let left = columns * 5 / 8;
            let right = columns - left - 1;
            page.side_by_side(
                left,
                (
                    self.heading(&tables::listeners_heading(self), left),
                    tables::listeners(self, left, rows.tables),
                ),
                (
                    self.heading(&tables::sources_heading(self), right),
                    tables::sources(self, right, rows.tables),
                ),
                rows.tables,
            );
        }
    }

    fn narrow(&self, page: &mut Page<'_>) {
        let (columns, rows) = (page.area.width, page.area.height.saturating_sub(2));
        let mut lines = headline::lines(self, columns, if rows >= 12 { 4 } else { 3 });
        // One that is open is in the headline.
        if rows >= 12 || self.view.incidents(self.board).len() > 1 {
            lines.extend(incidents::lines(self, columns, (rows / 4).clamp(1, 8)));
        }
        lines.push(figures::health_line(self, columns));
        lines.extend(chart::line(self, columns));
        lines.push(figures::handshake_line(self, columns));
        lines.push(figures::times_line(self, columns));
        lines.push(self.heading(&tables::listeners_heading(self), columns));
        lines.extend(tables::listeners(self, columns, 6));
        lines.push(self.heading(&tables::sources_heading(self), columns));
        lines.extend(tables::sources(self, columns, 8));
        lines.truncate(usize::from(rows));
        page.put(lines);
    }

    /// A heading, with a rule to the end of its columns.
    fn heading(&self, text: &str, columns: u16) -> Line<'static> {
        let text = words::cut(text, usize::from(columns));
        let rest = usize::from(columns).saturating_sub(text.chars().count() + 1);
        Line::from(vec![
            Span::styled(text, self.style(Role::Heading)),
            Span::styled(format!(" {}", self.view.theme.rule().repeat(rest)), self.style(Role::Dim)),
        ])
    }

    fn style(&self, role: Role) -> Style {
        self.view.theme.style(role)
    }

    fn span(&self, text: impl Into<String>, role: Role) -> Span<'static> {
        Span::styled(text.into(), self.style(role))
    }

    /// How bad a severity is.
    fn severity(severity: &str) -> Role {
        match severity {
            "P1" => Role::Bad,
            "P2" => Role::Warn,
            _ => Role::Plain,
        }
    }
}

/// The rows of a long text that are on the screen; never past its end.
fn scrolled(mut lines: Vec<Line<'static>>, scrolled: u16, rows: u16) -> Vec<Line<'static>> {
    let most = lines.len().saturating_sub(usize::from(rows));
    let mut shown = lines.split_off(usize::from(scrolled).min(most));
    shown.truncate(usize::from(rows));
    shown
}

/// Where the next line goes.
struct Page<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    at: u16,
}

impl Page<'_> {
    fn put(&mut self, lines: Vec<Line<'static>>) {
        for line in lines {
            self.put_at(0, self.at, &line, self.area.width);
            self.at += 1;
        }
    }

    /// The same, with empty rows up to `rows`.
    fn fill(&mut self, mut lines: Vec<Line<'static>>, rows: u16) {
        lines.resize(usize::from(rows), Line::default());
        self.put(lines);
    }

    /// Two parts with their headings; the right one begins a column after `left` ones.
    fn side_by_side(
        &mut self,
        left: u16,
        (left_heading, left_lines): (Line<'static>, Vec<Line<'static>>),
        (right_heading, right_lines): (Line<'static>, Vec<Line<'static>>),
        rows: u16,
    ) {
        let top = self.at;
        let right = self.area.width.saturating_sub(left + 1);
        for (at, line) in (top..=top + rows).zip(std::iter::once(left_heading).chain(left_lines)) {
            self.put_at(0, at, &line, left);
        }
        for (at, line) in (top..=top + rows).zip(std::iter::once(right_heading).chain(right_lines)) {
            self.put_at(left + 1, at, &line, right);
        }
        self.at = top + rows + 1;
    }

    fn put_at(&mut self, x: u16, y: u16, line: &Line<'static>, columns: u16) {
        if y < self.area.height && x < self.area.width {
            self.buffer.set_line(self.area.x + x, self.area.y + y, line, columns);
        }
    }
}
