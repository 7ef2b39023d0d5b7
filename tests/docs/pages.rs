//! The pages of the documentation, and what is in them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

pub struct Page {
    pub path: PathBuf,
    pub text: String,
}

/// All pages for users and operators; decisions and the list of changes tell of their day.
pub fn pages() -> Vec<Page> {
    let folders = ["docs", "docs/providers", "charts/certwright"].map(|folder| root().join(folder));
    let listed = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let found = listed.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut paths: Vec<PathBuf> = found.chain([root().join("README.md")]).collect();
    paths.sort();
    paths.into_iter().map(Page::at).collect()
}

pub fn page(name: &str) -> Page {
    Page::at(root().join(name))
}

pub fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// The folder of the sources, also for tests of the crate in `e2e/`.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().find(|folder| folder.join("docs").is_dir()).unwrap()
}

impl Page {
    pub fn at(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap_or_default();
        Self { path, text }
    }

    pub fn name(&self) -> String {
        self.path.strip_prefix(root()).unwrap_or(&self.path).display().to_string()
    }

    /// The headings as links name them.
    pub fn anchors(&self) -> BTreeSet<String> {
        let is_kept = |letter: &char| letter.is_alphanumeric() || "-_ ".contains(*letter);
        let headings = self.text.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix(' '));
        headings
            .map(|heading| heading.to_lowercase().chars().filter(is_kept).collect::<String>().replace(' ', "-"))
            .collect()
    }

    /// What is said of certwright: without commands of other programs, and the column of the other program in comparisons.
    pub fn prose(&self) -> String {
        let is_of_lego = self.name() == "docs/lego.md";
        let lines = self
            .text
            .lines()
            .filter(|line| !line.starts_with("    ") || line.trim_start().starts_with("certwright "))
            .map(|line| match line.strip_prefix('|').and_then(|rest| rest.split_once('|')) {
                Some((_, rest)) if is_of_lego => rest,
                _ => line,
            });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The page without the section that has this heading.
    pub fn without(&self, heading: &str) -> Self {
        let (before, rest) = self.text.split_once(&format!("\n## {heading}\n")).unwrap();
        let after = rest.split_once("\n## ").map_or("", |(_, after)| after);
        Self { path: self.path.clone(), text: format!("{before}\n## {after}") }
    }

    /// The rows of all tables, with the numbers of their lines.
    pub fn rows(&self) -> Vec<(usize, Vec<String>)> {
        let is_row = |line: &&str| line.starts_with('|') && !line.starts_with("|---");
        let lines = self.text.lines().enumerate().filter(|(_, line)| is_row(line));
        lines.map(|(number, line)| (number + 1, cells(line))).collect()
    }
}

/// A bar within a cell is written `\|`.
fn cells(line: &str) -> Vec<String> {
    let inner = line.trim_matches('|').replace("\\|", "\u{0}");
    inner.split('|').map(|cell| cell.replace('\u{0}', "|")).collect()
}
