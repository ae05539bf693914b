//! The default configuration file and the reference manual, both rendered from the table of keys.

use std::fmt::Write;

use toml::Value;

use super::Config;
use super::options::{OPTIONS, Opt, SECTIONS, Values};

/// A commented configuration file (`config init`) with the values of `config`. Reading it back gives the same values.
pub fn init(config: &Config) -> String {
    let mut out = String::from(
        "# quietwatch configuration. Every key is shown; delete what you do not change.\n\
         # Order: defaults < this file < --set KEY=VALUE < flags. Relative paths start at the folder of this file.\n\
         # Scoring may change only alerts, ranking, enrich, outputs, expected, gates, deliver and run; the rest is fixed by the model.\n\n\
         # Oldest engine that may read this file.\n",
    );
    writeln!(out, "required-version = \">={}\"", env!("CARGO_PKG_VERSION")).expect("text grows");
    for (section, meaning) in SECTIONS {
        writeln!(out, "\n# {meaning}\n[{section}]").expect("text grows");
        for opt in of(section) {
            writeln!(out, "# {} Must be {}.", opt.meaning, opt.must).expect("text grows");
            match (opt.get)(&config.values) {
                Some(value) => writeln!(out, "{} = {value}", opt.name()),
                None => writeln!(out, "# {} = (not set)", opt.name()),
            }
            .expect("text grows");
        }
    }
    out
}

/// The reference manual `docs/config.md`.
pub fn reference() -> String {
    let defaults = Values::default();
    let mut out = String::from(
        "# Configuration\n\n\
         <!-- Generated from the table in src/config/options.rs; a test holds them equal. -->\n\n\
         A value comes from the strongest of: built-in default < `--config FILE` < `--set KEY=VALUE` < dedicated flag.\n\
         `quietwatch config show` prints every key, its value and where it came from; `quietwatch config init` prints a\n\
         commented file to start from. Unknown keys and values out of range end with exit code 3.\n\n\
         `required-version = \">=0.1\"` (or an exact `\"0.1.0\"`) at the top of a file is looked at before anything else.\n\
         Relative paths in a file start at the folder of that file; in `--set` and flags, at the current folder.\n\
         The value of `--set` is TOML (`--set alerts.q=0.05`, `--set 'enrich.vpn-asns=[64500]'`); what is no TOML is text.\n\n\
         Training stores all settings in the model, except `deliver` and `run`. `score` starts from those; then only the sections marked *\n\
         may change, and any other key that differs from the model ends with exit code 3. Of `enrich.networks` the model\n\
         keeps the file names alone, so that it does not depend on a folder: scoring raw events needs the paths again.\n",
    );
    for (section, meaning) in SECTIONS {
        let free = of(section).all(Opt::free_at_score_time);
        let star = if free { " *" } else { "" };
        writeln!(out, "\n## {section}{star}\n\n{meaning}\n\n| key | default | must be | meaning |\n|---|---|---|---|")
            .expect("text grows");
        for opt in of(section) {
            let default = (opt.get)(&defaults).map_or_else(|| "not set".to_owned(), |v: Value| format!("`{v}`"));
            writeln!(out, "| `{}` | {default} | {} | {} |", opt.key, opt.must, opt.meaning).expect("text grows");
        }
    }
    out
}

fn of(section: &str) -> impl Iterator<Item = &'static Opt> {
    OPTIONS.iter().filter(move |opt| opt.section() == section)
}
