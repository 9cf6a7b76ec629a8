//! A page as text, for snapshots that people can read: one line for each heading, paragraph, row of a
//! table, definition and control, in their order; where a link or a form leads stands behind it.

use scraper::{ElementRef, Node, Selector};

use super::pages::Answer;

/// What stands between the navigation and the end of the page, with its status and title in front.
pub fn text(page: &Answer) -> String {
    let html = page.html();
    let mut lines = Lines(vec![format!("{} {}", page.status.as_u16(), page.text("title"))]);
    let main = html.select(&Selector::parse("#main").unwrap()).next().unwrap_or_else(|| html.root_element());
    lines.blocks(main);
    lines.0.join("\n")
}

struct Lines(Vec<String>);

impl Lines {
    fn push(&mut self, line: &str) {
        let line = fold(line);
        if !line.is_empty() {
            self.0.push(line);
        }
    }

    fn blocks(&mut self, parent: ElementRef<'_>) {
        for element in parent.child_elements() {
            let said = inline(element);
            match element.value().name() {
                // The same on every page of a kind, and long.
                "section" if element.attr("class") == Some("terms") => self.push(&words(element)),
                "dl" => element.child_elements().for_each(|entry| self.push(&format!("- {}", inline(entry)))),
                "h1" => self.push(&format!("# {said}")),
                "h2" => self.push(&format!("## {said}")),
                "summary" => self.push(&format!("+ {said}")),
                "li" if !has_blocks(element) => self.push(&format!("- {said}")),
                "tr" => self.push(&cells(element)),
                "form" => {
                    let attribute = |name| element.attr(name).unwrap_or_default();
                    self.push(&format!("[{} {}] {said}", attribute("method").to_uppercase(), attribute("action")));
                }
                "section" | "details" | "div" | "ul" | "ol" | "nav" | "table" | "thead" | "tbody" | "figure" | "li"
                    if has_blocks(element) =>
                {
                    self.blocks(element);
                }
                _ => self.push(&said),
            }
        }
    }
}

/// The words that a page explains.
fn words(terms: ElementRef<'_>) -> String {
    let heads = Selector::parse("dt").unwrap();
    let names = terms.select(&heads).map(|term| fold(&term.text().collect::<String>()));
    format!("Words: {}", names.collect::<Vec<_>>().join(", ").replace(':', ""))
}

/// Cells side by side.
fn cells(row: ElementRef<'_>) -> String {
    row.child_elements().map(|cell| fold(&inline(cell))).collect::<Vec<_>>().join(" | ")
}

fn has_blocks(element: ElementRef<'_>) -> bool {
    const BLOCKS: &str = "h1, h2, p, form, table, tr, dl, ul, ol, li, section, details, summary, figure, svg[role]";
    element.select(&Selector::parse(BLOCKS).unwrap()).next().is_some()
}

/// Everything inside in one line.
fn inline(element: ElementRef<'_>) -> String {
    let attribute = |name| element.attr(name).unwrap_or_default();
    match element.value().name() {
        "svg" => element.attr("aria-label").map(|label| format!("(drawing: {label})")).unwrap_or_default(),
        "input" if attribute("type") == "checkbox" => {
            format!(" {}={}", attribute("name"), if element.attr("checked").is_some() { "yes" } else { "no" })
        }
        "input" => format!(" {}=“{}”", attribute("name"), attribute("value")),
        "select" => format!(" {}={{{}}}", attribute("name"), options(element)),
        name => {
            let mut said = String::new();
            for child in element.children() {
                match child.value() {
                    Node::Text(text) => said.push_str(text),
                    Node::Element(_) => said.extend(ElementRef::wrap(child).map(inline)),
                    _ => {}
                }
            }
            match name {
                // Its meaning stands once, in the list at the foot.
                "a" if attribute("class") == "term" => said,
                "a" => format!("{} <{}>", said.trim(), attribute("href")),
                "button" => format!(" [{}]", said.trim()),
                "dt" => format!("{}: ", said.trim().trim_end_matches(':')),
                "td" | "th" | "dd" | "label" | "option" | "p" | "span" => format!(" {said} "),
                _ => said,
            }
        }
    }
}

/// The chosen one has a star. Of many only that one is shown.
fn options(select: ElementRef<'_>) -> String {
    const FEW: usize = 12;
    let all = select.child_elements().count();
    let option = |option: ElementRef<'_>| {
        let star = if option.attr("selected").is_some() { "*" } else { "" };
        format!("{star}{}", inline(option).trim())
    };
    let shown = select.child_elements().filter(|option| all <= FEW || option.attr("selected").is_some());
    let shown = shown.map(option).collect::<Vec<_>>().join(", ");
    if all > FEW { format!("one of {all}, {shown}") } else { shown }
}

fn fold(text: &str) -> String {
    text.replace('\u{a0}', " ").split_whitespace().collect::<Vec<_>>().join(" ")
}
