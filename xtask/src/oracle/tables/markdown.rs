//! Tables in Markdown.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// A table that grows by rows.
#[derive(Debug)]
pub(super) struct Table {
    text: String,
}

impl Table {
    pub(super) fn new(columns: &[(&str, Align)]) -> Self {
        let mut table = Self {
            text: String::new(),
        };
        table.row(columns.iter().map(|(title, _)| title));
        table.text.push('|');
        for (_, align) in columns {
            table.text += match align {
                Align::Left => "---|",
                Align::Right => "---:|",
            };
        }
        table.text.push('\n');
        table
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = impl AsRef<str>>) {
        self.text.push('|');
        for cell in cells {
            self.text.push(' ');
            self.text += cell.as_ref();
            self.text += " |";
        }
        self.text.push('\n');
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// What is known, or a dash.
pub(super) fn or_dash<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), show)
}

/// A share such as 0.0123 as `1.23 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_titles_alignments_and_rows() {
        let mut table = Table::new(&[("name", Align::Left), ("share", Align::Right)]);
        table.row(["a".to_owned(), percent(0.0123)]);
        table.row(["b".to_owned(), or_dash(None, percent)]);
        assert_eq!(
            table.finish(),
            "| name | share |\n|---|---:|\n| a | 1.23 % |\n| b | – |\n"
        );
    }
}
