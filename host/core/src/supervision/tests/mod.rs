//! Tests of supervision: the rules of OTP one by one, then random trees against what must always hold.

mod back_off;
mod calls;
mod checks;
mod intensity;
mod kit;
mod model;
mod nested;
mod random;
mod scale;
mod significance;
mod starting;
mod stopping;
mod strategies;
mod table;
