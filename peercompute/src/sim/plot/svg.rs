//! The text of an SVG file, piece by piece.

use std::fmt::Write as _;

use super::{BLUE, FAINT, INK, MUTED};

/// Where a text lies beside its point.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

pub(super) struct Svg {
    body: String,
}

impl Svg {
    pub(super) fn new() -> Self {
        Self {
            body: String::new(),
        }
    }

    pub(super) fn text(&mut self, x: f64, y: f64, text: &str, class: &str, anchor: Anchor) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let text = escape(text);
        self.put(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\"{anchor}>{text}</text>"
        ));
    }

    /// A text that is set smaller where it would be wider than `room` otherwise. `size` is that of its class, in which a letter is about `letter` wide.
    pub(super) fn text_within(
        &mut self,
        [x, y]: [f64; 2],
        text: &str,
        class: &str,
        [size, letter]: [f64; 2],
        room: f64,
    ) {
        let wide = text.chars().count() as f64 * letter;
        if wide <= room {
            return self.text(x, y, text, class, Anchor::Start);
        }
        let (size, text) = (size * room / wide, escape(text));
        self.put(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\" style=\"font-size:{size:.1}px\">{text}</text>"
        ));
    }

    pub(super) fn line(&mut self, from: [f64; 2], to: [f64; 2], class: &str) {
        let ([x1, y1], [x2, y2]) = (from, to);
        self.put(format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"
        ));
    }

    /// Lines from point to point.
    pub(super) fn path(&mut self, points: impl IntoIterator<Item = [f64; 2]>, class: &str) {
        let mut data = String::new();
        for [x, y] in points {
            let verb = if data.is_empty() { 'M' } else { 'L' };
            write!(data, "{verb}{x:.1} {y:.1}").expect("a string takes everything");
        }
        self.put(format_args!("<path d=\"{data}\" class=\"{class}\"/>"));
    }

    /// An element that none of the others is.
    pub(super) fn put(&mut self, element: std::fmt::Arguments<'_>) {
        self.body
            .write_fmt(element)
            .expect("a string takes everything");
        self.body.push('\n');
    }

    /// The whole file.
    pub(super) fn finish(self, width: f64, height: f64, description: &str) -> String {
        let description = escape(description);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\">\n\
             <title>{description}</title>\n<style>{}</style>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{}</svg>\n",
            style(),
            self.body
        )
    }
}

fn style() -> String {
    format!(
        "text{{font-family:Inter,'Segoe UI',Roboto,'Helvetica Neue',Arial,'DejaVu Sans',sans-serif;fill:{INK};font-size:13px}}\
         .title{{font-size:22px;font-weight:600}}\
         .head{{font-size:15px;font-weight:600}}\
         .value{{font-size:19px;font-weight:600}}\
         .small{{font-size:11.5px;fill:{MUTED}}}\
         .there{{fill:{MUTED};fill-opacity:.25}}\
         .muted{{fill:{MUTED}}}\
         .note{{fill:{BLUE};font-size:11.5px}}\
         .tick{{stroke:{FAINT};stroke-width:1}}\
         .axis{{stroke:{MUTED};stroke-width:1}}\
         .bound{{stroke:{INK};stroke-width:1.3;stroke-dasharray:6 4;fill:none}}\
         .raw{{fill:{BLUE};fill-opacity:.13}}\
         .rate{{stroke:{BLUE};stroke-width:2;stroke-linejoin:round;fill:none}}\
         .mark{{stroke:{BLUE};stroke-width:1;stroke-dasharray:2 3}}\
         .node{{stroke:#fff;stroke-width:1}}"
    )
}

/// Text as XML has it, without what XML cannot have.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_wide_is_set_smaller() {
        let mut svg = Svg::new();
        svg.text_within([0.0, 0.0], "12345", "value", [20.0, 10.0], 50.0);
        assert!(!svg.body.contains("font-size"), "{}", svg.body);
        svg.text_within([0.0, 0.0], "1234567890", "value", [20.0, 10.0], 50.0);
        assert!(svg.body.contains("font-size:10.0px"), "{}", svg.body);
    }

    #[test]
    fn text_from_files_stays_text() {
        assert_eq!(escape("a<b>&\"\u{1}"), "a&lt;b&gt;&amp;&quot;\u{fffd}");
    }
}
