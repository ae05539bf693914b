//! `backtest`: history replayed night by night, and what that adds up to.

use std::io::Write;

use super::args::BacktestArgs;
use super::evaluate::read_labels;
use super::score::tell_published;
use super::{cannot_print, print_json, terminal};
use crate::error::{Error, Kind, Result};
use crate::evaluation::backtest::{measure, page, print};
use crate::pipeline::backtest::{Plan, replay};
use crate::report::run_folder;

pub(super) fn run(args: &BacktestArgs, out: &mut dyn Write) -> Result<()> {
    if args.from > args.to {
        let message = format!("expected --from no later than --to, found {} and {}", args.from, args.to);
        return Err(Error::new(Kind::Usage, message));
    }
    let config = args.layers()?.resolve()?;
    // Looked at first: a bad file fails before the work, not after it.
    let labels = args.labels.as_deref().map(read_labels).transpose()?;
    let input = args.input.open(&config)?;
    let plan = Plan { from: args.from, to: args.to, retrain_every: args.retrain_every, seed: config.run().seed };
    let bar = terminal::progress("replaying", 1);
    let replayed = replay(&input.store, plan, config.settings(), &mut |what, done, of| {
        bar.set_message(what.to_owned());
        bar.set_length(of);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    let backtest = measure(&replayed, labels.as_deref());
    let mut json = serde_json::to_vec_pretty(&backtest)
        .map_err(|e| Error::new(Kind::Bug, "the backtest cannot be described as JSON").with_source(e))?;
    json.push(b'\n');
    let files = (page::page(&backtest), json);
    let published = run_folder::publish_backtest(&args.out, &replayed.run, &replayed.anomalies, files)?;
    if args.json {
        return print_json(out, &backtest);
    }
    print::print(out, &backtest, terminal::width()).map_err(cannot_print)?;
    tell_published(published, &args.out);
    Ok(())
}
