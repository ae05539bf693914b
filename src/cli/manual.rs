//! `completions` and `man`: what shells and `man` want to know of the command line, made from its definition.

use std::io::Write;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate};

use super::args::Args;
use super::cannot_print;
use super::messages::Message;
use crate::error::{Error, Kind, Result};
use crate::fsutil;

/// Writes the completion script.
pub(super) fn completions(shell: Shell, out: &mut dyn Write) -> Result<()> {
    let mut command = Args::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    generate(shell, &mut command, name, &mut script);
    out.write_all(&script).map_err(cannot_print)
}

/// Writes a page for each command into a folder.
pub(super) fn pages(folder: &Path) -> Result<()> {
    let mut root = Args::command().disable_help_subcommand(true);
    root.build();
    fsutil::create_dirs(folder)?;
    let written = write(folder, &root)?;
    Message::done(format!("{written} man pages written to {}", folder.display()))
        .with("pages", written)
        .with_path("path", folder)
        .tell();
    Ok(())
}

fn write(folder: &Path, command: &Command) -> Result<u32> {
    // `build` has given each command the name of its page: `quietwatch-models-list`.
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .source(concat!("quietwatch ", env!("CARGO_PKG_VERSION")))
        .render(&mut page)
        .map_err(|e| Error::new(Kind::Bug, format!("cannot render the page of {name}")).with_source(e))?;
    fsutil::write_atomic(&folder.join(format!("{name}.1")), &unfilled(&page))?;
    command.get_subcommands().try_fold(1, |written, sub| Ok(written + write(folder, sub)?))
}

/// What stands below the flags, examples and tables, is set in lines of its own, which `man` would otherwise fill.
fn unfilled(page: &[u8]) -> Vec<u8> {
    let page = String::from_utf8_lossy(page);
    let Some((head, rest)) = page.split_once(".SH EXTRA\n") else { return page.into_owned().into_bytes() };
    let (extra, tail) = rest.find("\n.SH ").map_or((rest, ""), |at| rest.split_at(at + 1));
    format!("{head}.SH NOTES\n.nf\n{}\n.fi\n{tail}", extra.trim_end()).into_bytes()
}
