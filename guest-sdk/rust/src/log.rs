//! Lines for people. They are kept even if the turn is undone, and marked so.

use crate::host::log;

#[doc(hidden)]
pub use crate::host::log::Level;

#[doc(hidden)]
pub fn write(level: Level, text: &str, fields: &[(String, String)]) {
    log::write(level, text, fields);
}

pub(crate) fn warn(text: &str) {
    log::write(Level::Warn, text, &[]);
}

/// Without this the host would see of a panic only that the guest trapped.
pub(crate) fn show_panics() {
    std::panic::set_hook(Box::new(|info| {
        let text = info.payload_as_str().unwrap_or("panicked");
        let at = info.location().map_or_else(String::new, |at| format!("{}:{}", at.file(), at.line()));
        log::write(Level::Error, &format!("panic: {text}"), &[("at".to_owned(), at)]);
    }));
}

/// A line for the author: `debug!("read {count} rows")`, with fields `debug!(path = path, "read")`.
#[macro_export]
macro_rules! debug { ($($line:tt)+) => { $crate::log_line!(Debug, [] $($line)+) }; }

/// A line worth knowing: see [`debug!`].
#[macro_export]
macro_rules! info { ($($line:tt)+) => { $crate::log_line!(Info, [] $($line)+) }; }

/// A line to look at some day: see [`debug!`].
#[macro_export]
macro_rules! warn { ($($line:tt)+) => { $crate::log_line!(Warn, [] $($line)+) }; }

/// A line to look at now: see [`debug!`].
#[macro_export]
macro_rules! error { ($($line:tt)+) => { $crate::log_line!(Error, [] $($line)+) }; }

#[doc(hidden)]
#[macro_export]
macro_rules! log_line {
    ($level:ident, [$($field:tt)*] $key:ident = $value:expr, $($rest:tt)+) => {
        $crate::log_line!($level, [$($field)* (::std::string::String::from(stringify!($key)), ::std::string::ToString::to_string(&$value)),] $($rest)+)
    };
    ($level:ident, [$($field:tt)*] $($text:tt)+) => {
        $crate::log::write($crate::log::Level::$level, &::std::format!($($text)+), &[$($field)*])
    };
}
