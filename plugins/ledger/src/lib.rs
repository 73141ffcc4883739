//! A durable account of what the digests have found: per file, per extension, in total. Never deduplicates: what comes
//! twice is counted twice, so that it is seen. `../README.md` has its messages.

mod pages;
mod rows;
#[cfg(test)]
mod tests;

use pages::{Page, Report, Rows};
use rows::{Extension, File, Record, Totals};
use skep_sdk::prelude::*;

/// Who waits at the same time.
const WAITING_MAX: usize = 64;

#[agent(persist)]
#[derive(Default)]
struct Ledger {
    totals: Totals,
    waiting: Vec<(ReplyTo, u64)>,
}

#[message(kind = "totals", reply = Totals)]
struct GetTotals;

#[message(reply = u64)]
struct Count;

#[message(reply = Totals)]
struct Wait {
    deliveries: u64,
}

#[message(kind = "report", reply = Report)]
struct GetReport(Option<Page>);

#[message(reply = Rows<File>)]
struct Files(Option<Page>);

#[message(kind = "file", reply = Option<File>)]
struct GetFile {
    path: String,
}

#[handlers]
impl Ledger {
    fn record(&mut self, ctx: &mut Context, record: Record) -> Result<()> {
        let key = rows::file_key(&record.path);
        let before = ctx.state().get::<File>(&key)?;
        let key_of_extension = rows::extension_key(&record.path);
        let mut extension = ctx.state().get::<Extension>(&key_of_extension)?.unwrap_or_default();
        extension.count(&record, before.as_ref());
        self.totals.count(&record, before.as_ref());
        ctx.state().put(&key_of_extension, &extension)?;
        ctx.state().put(&key, &File::after(record, before.as_ref()))?;
        self.tell_waiting(ctx)
    }

    fn totals(&self, _: GetTotals) -> Totals {
        self.totals.clone()
    }

    fn count(&self, _: Count) -> u64 {
        self.totals.figures.files
    }

    fn wait(&mut self, ctx: &mut Context, wait: Wait) -> Result<Later> {
        if self.waiting.len() >= WAITING_MAX {
            return Err(Refusal::Unavailable(format!("{WAITING_MAX} are waiting already")));
        }
        self.waiting.extend(ctx.asker().zip(Some(wait.deliveries)));
        self.tell_waiting(ctx)?;
        Ok(Later)
    }

    fn report(&self, ctx: &mut Context, GetReport(page): GetReport) -> Result<Report> {
        Ok(Report { totals: self.totals.clone(), rows: pages::extensions(ctx, page.unwrap_or_default())? })
    }

    fn files(&self, ctx: &mut Context, Files(page): Files) -> Result<Rows<File>> {
        pages::files(ctx, page.unwrap_or_default())
    }

    fn file(&self, ctx: &mut Context, file: GetFile) -> Result<Option<File>> {
        Ok(ctx.state().get(&rows::file_key(&file.path))?)
    }
}

impl Ledger {
    fn tell_waiting(&mut self, ctx: &mut Context) -> Result<()> {
        let deliveries = self.totals.deliveries;
        for (asker, _) in self.waiting.extract_if(.., |(_, wanted)| *wanted <= deliveries) {
            // An asker that has given up meanwhile is no reason to refuse the record.
            let _ = ctx.reply(&asker, &self.totals);
        }
        Ok(())
    }
}
