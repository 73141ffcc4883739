//! The pages of docs/errors, one for each stable code, in the binary: they can be read where there is no network. Never
//! anything but what the pages say; a test holds codes and pages together.

mod table;

use crate::exit::Exit;

/// The page of a code, as docs/errors has it.
pub fn page(code: &str) -> Option<&'static str> {
    let place = table::PAGES.binary_search_by_key(&code, |(code, _)| code).ok()?;
    table::PAGES.get(place).map(|(_, text)| *text)
}

/// All codes, in order.
pub fn codes() -> impl Iterator<Item = &'static str> {
    table::PAGES.iter().map(|(code, _)| *code)
}

/// What a code says in one sentence: the first line of its page after the heading.
pub fn title(code: &str) -> Option<&'static str> {
    page(code)?.lines().skip(1).find(|line| !line.is_empty())
}

/// What to do about a code: the first paragraph of that part of its page.
pub fn help(code: &str) -> Option<&'static str> {
    let (_, rest) = page(code)?.split_once("## What to do\n")?;
    rest.trim_start().split("\n\n").next().map(str::trim_end)
}

/// The exit code that a page names; what has no page has failed.
pub fn exit(code: &str) -> Exit {
    let number = page(code).and_then(|text| text.lines().find_map(|line| line.strip_prefix("Exit code: ")));
    number.and_then(|number| number.trim().parse().ok()).map_or(Exit::Failed, Exit::from_number)
}

#[cfg(test)]
mod tests;
