//! What was found, and whether the bars are met. Never a measurement.

use std::collections::HashMap;

use super::number::{ALL, Number};
use crate::api::types::BenchNumber;
use crate::output::{Document, Table};

/// The best of what was measured so far.
#[derive(Default)]
pub(super) struct Report {
    /// Of this round alone.
    round: HashMap<&'static str, f64>,
    best: HashMap<&'static str, f64>,
    /// The best that a number was to its control within a round. The best of each over all rounds would be a ratio of two
    /// moments, and say which of them the machine had more time for.
    best_ratio: HashMap<&'static str, f64>,
}

impl Report {
    /// What comes from here on is of another round.
    pub(super) fn begin_round(&mut self) {
        self.round.clear();
    }

    /// What a trial has yielded, a value for each name. A control comes before what is held against it.
    pub(super) fn add(&mut self, names: &[&'static str], values: &[f64]) {
        for (name, value) in names.iter().zip(values) {
            let Some(number) = ALL.iter().find(|number| number.name == *name) else { continue };
            self.round.insert(number.name, *value);
            keep_best(&mut self.best, number, *value);
            if let Some(control) = number.control.and_then(|control| self.round.get(control)) {
                keep_best(&mut self.best_ratio, number, value / control);
            }
        }
    }

    /// The numbers that were asked for, in every format.
    pub(super) fn document(&self, wanted: &[&'static Number]) -> Document {
        let found: Vec<BenchNumber> = wanted.iter().filter_map(|number| self.number(number)).collect();
        let mut table = Table::new(&["number", "value", "unit", "ratio", "bar", "met"]);
        for number in &found {
            table.row([
                number.name.clone(),
                format!("{:.*}", if number.value < 100.0 { 1 } else { 0 }, number.value),
                number.unit.clone(),
                number.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
                number.bar.clone().unwrap_or_default(),
                number.met.map(|met| if met { "met" } else { "missed" }).unwrap_or_default().to_owned(),
            ]);
        }
        let names = found.iter().map(|number| number.name.clone()).collect();
        Document::list("BenchNumberList", &found, names, table)
    }

    fn number(&self, number: &'static Number) -> Option<BenchNumber> {
        let value = *self.best.get(number.name)?;
        let ratio = self.best_ratio.get(number.name).copied();
        Some(BenchNumber {
            name: number.name.to_owned(),
            value: rounded(value),
            unit: number.unit.to_owned(),
            better: number.better(),
            what: number.what.to_owned(),
            control: number.control.map(str::to_owned),
            ratio: ratio.map(rounded),
            factor: number.factor,
            met: ratio.and_then(|ratio| number.keeps(ratio)),
            bar: number.bar_text(),
        })
    }
}

fn keep_best(best: &mut HashMap<&'static str, f64>, number: &'static Number, value: f64) {
    let best = best.entry(number.name).or_insert(value);
    *best = number.best(*best, value);
}

/// To a thousandth: more digits say nothing.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(report: &Report, name: &str) -> Option<BenchNumber> {
        report.number(ALL.iter().find(|number| number.name == name).unwrap())
    }

    fn report(rounds: &[&[(&'static str, f64)]]) -> Report {
        let mut report = Report::default();
        for round in rounds {
            report.begin_round();
            round.iter().for_each(|(name, value)| report.add(&[name], &[*value]));
        }
        report
    }

    #[test]
    fn the_best_figure_counts_and_the_best_ratio_of_a_round() {
        // The best of each, 100 and 450, would be 4.5.
        let cost = report(&[&[("raw_call", 100.0), ("ask", 500.0)], &[("raw_call", 150.0), ("ask", 450.0)]]);
        let ask = number(&cost, "ask").unwrap();
        assert_eq!((ask.value, ask.ratio, ask.met), (450.0, Some(3.0), Some(true)));
        assert_eq!(number(&cost, "raw_call").unwrap().value, 100.0);
        // The best of each, 1000 and 390, would be 0.39.
        let [low, high] = [[1_000.0, 300.0], [800.0, 390.0]]
            .map(|[raw, skep]| [("raw_store_per_s", raw), ("durable_turns_per_s", skep)]);
        let turns = number(&report(&[&low, &high]), "durable_turns_per_s").unwrap();
        assert_eq!((turns.value, turns.ratio, turns.met), (390.0, Some(0.488), Some(true)));
    }

    #[test]
    fn a_control_of_another_round_is_none() {
        let report = report(&[&[("raw_call", 100.0)], &[("ask", 300.0)]]);
        let ask = number(&report, "ask").unwrap();
        assert_eq!((ask.ratio, ask.met, ask.factor), (None, None, Some(4.0)));
        assert!(number(&report, "tell").is_none());
    }

    #[test]
    fn a_number_without_a_bar_has_its_ratio() {
        let restart = number(&report(&[&[("raw_restart_us", 20.0), ("restart_us", 50.0)]]), "restart_us").unwrap();
        assert_eq!((restart.ratio, restart.factor, restart.bar, restart.met), (Some(2.5), None, None, None));
    }
}
