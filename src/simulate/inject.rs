use super::*;
use std::path::{Path, PathBuf};
pub fn inject(
    _events: &[PathBuf],
    _options: &Options,
    _out: &Path,
    _progress: &mut dyn FnMut(Progress),
) -> Result<Summary> {
    unimplemented!()
}
