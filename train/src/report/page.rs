//! HTML: pages that hold everything they need and make no request.
//!
//! The page's [Content Security Policy] allows the one script, known by its hash, pictures inside the page, and no
//! address. Names come from files of other people: every text is escaped.
//!
//! [Content Security Policy]: https://www.w3.org/TR/CSP3/

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use quick_xml::escape::escape;
use sha2::{Digest, Sha256};

use super::{Figure, slug, svg};

const STYLE: &str = include_str!("page.css");
/// Sorts tables by a click on the head of a column.
pub const SCRIPT: &str = include_str!("page.js");

/// A part of the page below a heading.
pub struct Section {
    title: String,
    blocks: Vec<Block>,
}

/// Content of a section.
pub enum Block {
    /// Sentences.
    Notes(Vec<String>),
    /// A table or a paragraph.
    Html(String),
    Figures(Vec<Figure>),
}

impl Section {
    pub fn new(title: &str, blocks: Vec<Block>) -> Self {
        Self { title: title.into(), blocks }
    }

    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.blocks.iter().flat_map(|block| match block {
            Block::Figures(figures) => figures.as_slice(),
            Block::Notes(_) | Block::Html(_) => &[],
        })
    }

    /// Begins the file names of the figures with a text.
    pub fn prefix(&mut self, prefix: &str) {
        for block in &mut self.blocks {
            if let Block::Figures(figures) = block {
                figures.iter_mut().for_each(|figure| figure.name = format!("{prefix}-{}", figure.name));
            }
        }
    }
}

/// The body of the report: its contents, then the sections.
pub fn index(sections: &[Section]) -> String {
    let link = |section: &Section| format!("<a href=\"#{}\">{}</a>", slug(&section.title), escape(&section.title));
    let links: Vec<String> = sections.iter().map(link).collect();
    let mut html = format!("<h1>Report</h1><nav>{}</nav>", links.join(" "));
    for section in sections {
        html += &format!("<section id=\"{}\"><h2>{}</h2>", slug(&section.title), escape(&section.title));
        for block in &section.blocks {
            match block {
                Block::Notes(notes) => {
                    let items: Vec<String> = notes.iter().map(|note| format!("<li>{}</li>", escape(note))).collect();
                    html += &format!("<ul class=\"notes\">{}</ul>", items.join(""));
                }
                Block::Html(text) => html += text,
                Block::Figures(figures) => {
                    html += "<div class=\"figures\">";
                    figures.iter().for_each(|figure| html += &figure_html(figure));
                    html += "</div>";
                }
            }
        }
        html += "</section>";
    }
    html
}

fn figure_html(figure: &Figure) -> String {
    let link = |extension: &str, text: &str| format!("<a href=\"figures/{}.{extension}\">{text}</a>", figure.name);
    format!(
        "<figure><h3>{}</h3>{}<figcaption>{} <span class=\"files\">{} {} {}</span></figcaption></figure>\n",
        escape(&figure.title),
        figure.svg,
        escape(&figure.caption),
        link("svg", "SVG"),
        link("png", "PNG"),
        link("json", "numbers"),
    )
}

/// A whole page with that body.
pub fn page(title: &str, body: &str, script: &str) -> String {
    let [light, dark] = svg::palette();
    let style = STYLE.replace("/*light*/", &light).replace("/*dark*/", &dark);
    let hash = BASE64_STANDARD.encode(Sha256::digest(script));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'sha256-{hash}'; \
         style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>{style}</style></head>\n<body><main>{body}</main>\n<script>{script}</script></body></html>\n",
        escape(title)
    )
}

/// A table; the first column names its rows. `is_sortable` lets a click on a head sort by that column.
pub fn table(head: &[&str], rows: &[Vec<String>], is_sortable: bool) -> String {
    let button = |text: &str| {
        if is_sortable {
            format!("<button type=\"button\">{}</button>", escape(text))
        } else {
            escape(text).into_owned()
        }
    };
    let heads: String = head.iter().map(|text| format!("<th scope=\"col\">{}</th>", button(text))).collect();
    let cells = |row: &Vec<String>| -> String {
        let (first, rest) = row.split_first().expect("a row has a name");
        let rest: String = rest.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
        format!("<tr><th scope=\"row\">{}</th>{rest}</tr>", escape(first))
    };
    let rows: String = rows.iter().map(cells).collect();
    let class = if is_sortable { " class=\"sortable\"" } else { "" };
    format!("<div class=\"table\"><table{class}><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>\n")
}
