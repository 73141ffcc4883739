//! What was found, and whether the bars are met. Never a measurement.

use std::collections::HashMap;

use serde::Serialize;

use super::number::{ALL, Better, Number};
use crate::output::{Document, Table};

/// The best of what was measured so far.
#[derive(Default)]
pub(super) struct Report {
    best: HashMap<&'static str, f64>,
}

/// `BenchNumberList`: one number beside its control.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BenchNumber {
    name: &'static str,
    value: f64,
    unit: &'static str,
    what: &'static str,
    control: Option<&'static str>,
    /// The number over its control.
    ratio: Option<f64>,
    bar: Option<String>,
    met: Option<bool>,
}

impl Report {
    /// What a trial has yielded, a value for each name.
    pub(super) fn add(&mut self, names: &[&'static str], values: &[f64]) {
        for (name, value) in names.iter().zip(values) {
            let higher = ALL.iter().any(|number| number.name == *name && number.better() == Better::Higher);
            let best = self.best.entry(name).or_insert(*value);
            *best = if higher { best.max(*value) } else { best.min(*value) };
        }
    }

    /// The numbers that were asked for, in every format.
    pub(super) fn document(&self, wanted: &[&'static Number]) -> Document {
        let found: Vec<BenchNumber> = wanted.iter().filter_map(|number| self.number(number)).collect();
        let mut table = Table::new(&["number", "value", "unit", "ratio", "bar", "met"]);
        for number in &found {
            table.row([
                number.name.to_owned(),
                format!("{:.*}", if number.value < 100.0 { 1 } else { 0 }, number.value),
                number.unit.to_owned(),
                number.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
                number.bar.clone().unwrap_or_default(),
                number.met.map(|met| if met { "met" } else { "missed" }).unwrap_or_default().to_owned(),
            ]);
        }
        let names = found.iter().map(|number| number.name.to_owned()).collect();
        Document::list("BenchNumberList", &found, names, table)
    }

    fn number(&self, number: &'static Number) -> Option<BenchNumber> {
        let value = *self.best.get(number.name)?;
        let beside = number.bar.and_then(|(name, factor)| Some((name, factor, *self.best.get(name)?)));
        Some(BenchNumber {
            name: number.name,
            value: rounded(value),
            unit: number.unit,
            what: number.what,
            control: beside.map(|(name, _, _)| name),
            ratio: beside.map(|(_, _, control)| rounded(value / control)),
            bar: number.bar_text(),
            met: beside.map(|(_, factor, control)| number.keeps(value, control, factor)),
        })
    }
}

/// To a thousandth: more digits say nothing.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::number::wanted;

    #[test]
    fn the_best_counts_and_the_bar_is_told() {
        let mut report = Report::default();
        for (call, ask, rate) in [(100.0, 500.0, 7.0), (120.0, 390.0, 9.0)] {
            report.add(&["raw_call"], &[call]);
            report.add(&["ask", "durable_turns_per_s"], &[ask, rate]);
        }
        let all = wanted(&[]).unwrap();
        let of = |name: &str| report.number(all.iter().find(|number| number.name == name).unwrap());
        let ask = of("ask").unwrap();
        assert_eq!((ask.value, ask.ratio, ask.met), (390.0, Some(3.9), Some(true)));
        let turns = of("durable_turns_per_s").unwrap();
        assert_eq!((turns.value, turns.met), (9.0, None));
        assert!(of("tell").is_none());
    }
}
