//! The verdicts in the store, and the nights that it keeps.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use super::{Store, atomic};
use crate::date::Date;
use crate::error::{Error, Kind, Result};
use crate::feedback::{self, Entry};

impl Store {
    fn feedback_path(&self) -> PathBuf {
        self.path.join(feedback::FILE)
    }

    /// Every verdict, in the order in which they were given.
    pub fn verdicts(&self) -> Result<Vec<Entry>> {
        let path = self.feedback_path();
        match fs::read(&path) {
            Ok(bytes) => feedback::parse(&bytes, &path.display().to_string()),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(Error::io(Kind::Input, "read", &path, e)),
        }
    }

    /// Adds a verdict; when this returns it survives a power cut. [`Kind::Locked`] if another process writes to the store.
    pub fn add_verdict(&self, entry: &Entry) -> Result<()> {
        let _lock = self.lock()?;
        // Verdicts that cannot be read must not be buried under new ones.
        self.verdicts()?;
        let mut line = serde_json::to_vec(entry)
            .map_err(|e| Error::new(Kind::Bug, "a verdict cannot be written as JSON").with_source(e))?;
        line.push(b'\n');
        let path = self.feedback_path();
        let append = || -> std::io::Result<()> {
            let mut file = File::options().create(true).truncate(false).read(true).write(true).open(&path)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            // What a killed writer left of its last line was never acknowledged.
            let end = feedback::acknowledged(&bytes) as u64;
            file.set_len(end)?;
            file.seek(SeekFrom::Start(end))?;
            file.write_all(&line)?;
            file.sync_all()
        };
        append().map_err(|e| Error::io(Kind::Resource, "add to", &path, e))?;
        atomic::sync_dir(&self.path)
    }

    /// Every night that is kept: digest of the model and date, the latest date first.
    pub fn kept_nights(&self) -> Result<Vec<(String, Date)>> {
        let folder = self.path.join("nights");
        let mut out = Vec::new();
        if !folder.is_dir() {
            return Ok(out);
        }
        for model in super::folders(&folder)? {
            let of_model = folder.join(&model);
            let failed = |e| Error::io(Kind::Input, "read", &of_model, e);
            for entry in fs::read_dir(&of_model).map_err(failed)? {
                let name = entry.map_err(failed)?.file_name();
                if let Some(date) = name.to_str().and_then(|n| n.parse::<Date>().ok()) {
                    out.push((model.clone(), date));
                }
            }
        }
        out.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::catalog::Family;
    use crate::feedback::Verdict;
    use crate::feedback::tests::entry;

    #[test]
    fn verdicts_are_added_after_a_torn_line_and_never_after_damage() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("s")).unwrap();
        assert_eq!(store.verdicts().unwrap(), []);
        let [a, b, c] = ["a", "b", "c"].map(|id| entry(Verdict::Benign, id, Date(5), Family::Count));
        store.add_verdict(&a).unwrap();
        store.add_verdict(&b).unwrap();
        let path = store.feedback_path();
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            store.add_verdict(&c).unwrap();
            let mut expected: Vec<Entry> = feedback::parse(&whole[..cut], "f").unwrap();
            expected.push(c.clone());
            assert_eq!(store.verdicts().unwrap(), expected, "cut at {cut}");
        }
        fs::write(&path, b"{}\n").unwrap();
        assert_eq!(store.add_verdict(&a).unwrap_err().kind(), Kind::Input);
        assert_eq!(fs::read(&path).unwrap(), b"{}\n");
    }

    #[test]
    fn a_verdict_waits_for_the_lock_of_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("s")).unwrap();
        let _lock = store.lock().unwrap();
        let said = entry(Verdict::True, "a", Date(5), Family::Count);
        assert_eq!(store.add_verdict(&said).unwrap_err().kind(), Kind::Locked);
    }
}
