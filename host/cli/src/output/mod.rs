//! What commands print: data on stdout, talk on stderr. Tables on a terminal, plain tab-separated lines elsewhere, JSON
//! when asked. Never prints foreign text unescaped.

mod format;
mod progress;
mod table;

pub use format::{Color, Format, Output};
pub use progress::Bar;
pub use table::{Document, Table};
