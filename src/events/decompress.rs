//! A file as a stream of plain bytes: compression by content, digest and limits on the way.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::config::settings::Limits;
use crate::error::{Error, Kind, Result};

/// A small file may expand as far as this whatever its ratio.
const RATIO_FLOOR: u64 = 16 << 20;
/// Largest zstd window accepted, 2^27 bytes (what `zstd -19` needs; `--ultra` and `--long` may ask for more).
const ZSTD_WINDOW_LOG: u32 = 27;

/// Decompressed bytes of one file.
pub(crate) struct Input {
    path: PathBuf,
    reader: Box<dyn Read + Send>,
    hasher: blake3::Hasher,
    produced: u64,
    ratio_limit: u64,
    limits: Limits,
    stored_bytes: u64,
}

/// How many bytes the digest is fed at a time: they are still in the second-level cache then.
const CHUNK: usize = 256 << 10;

impl Input {
    pub(crate) fn open(path: &Path, limits: &Limits) -> Result<Self> {
        let metadata = path.metadata().map_err(|e| Error::io(Kind::Input, "open", path, e))?;
        if !metadata.is_file() {
            return Err(Error::new(Kind::Input, format!("{}: expected a file, found something else", path.display())));
        }
        let file = File::open(path).map_err(|e| Error::io(Kind::Input, "open", path, e))?;
        let stored_bytes = metadata.len();
        let mut file = BufReader::with_capacity(CHUNK, file);
        let magic = file.fill_buf().map_err(|e| Error::io(Kind::Input, "read", path, e))?;
        let magic: [u8; 4] = std::array::from_fn(|i| magic.get(i).copied().unwrap_or(0));
        let suffix = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
        if stored_bytes == 0 && matches!(suffix.as_str(), "gz" | "zst" | "zstd") {
            return Err(Error::new(
                Kind::Input,
                format!("{}: expected compressed data, found an empty file; fetch it again", path.display()),
            ));
        }
        let mut ratio_limit = u64::MAX;
        let mut compressed = || ratio_limit = (limits.decompression_ratio * stored_bytes as f64) as u64;
        let reader: Box<dyn Read + Send> = match magic {
            [0x1f, 0x8b, ..] => {
                compressed();
                Box::new(flate2::bufread::MultiGzDecoder::new(file))
            }
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
                compressed();
                let mut decoder = zstd::stream::read::Decoder::with_buffer(file)
                    .map_err(|e| Error::io(Kind::Resource, "decompress", path, e))?;
                decoder
                    .window_log_max(ZSTD_WINDOW_LOG)
                    .map_err(|e| Error::io(Kind::Resource, "decompress", path, e))?;
                Box::new(decoder)
            }
            _ => Box::new(file),
        };
        Ok(Self {
            path: path.to_owned(),
            reader,
            hasher: blake3::Hasher::new(),
            produced: 0,
            ratio_limit,
            limits: limits.clone(),
            stored_bytes,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is compressed.
    pub(super) fn is_compressed(&self) -> bool {
        self.ratio_limit != u64::MAX
    }

    /// Size on disk in bytes.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    /// Fills `buffer` from the file and returns how much; less than asked for means the file has ended.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let end = buffer.len().min(filled + CHUNK);
            let read = match self.reader.read(&mut buffer[filled..end]) {
                Ok(0) => break,
                Ok(read) => read,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) if self.is_compressed() && e.raw_os_error().is_none() => {
                    return Err(Error::new(
                        Kind::Input,
                        format!(
                            "{}: compressed data is damaged or cut off after {} decompressed bytes; fetch it again",
                            self.path.display(),
                            self.produced
                        ),
                    )
                    .with_source(e));
                }
                Err(e) => return Err(Error::io(Kind::Input, "read", &self.path, e)),
            };
            self.hasher.update(&buffer[filled..filled + read]);
            filled += read;
            self.produced += read as u64;
            self.check_limits()?;
        }
        Ok(filled)
    }

    fn check_limits(&self) -> Result<()> {
        let path = self.path.display();
        if self.produced > self.limits.file_bytes {
            return Err(Error::new(
                Kind::Input,
                format!(
                    "{path}: expected at most {} bytes, found more; raise limits.file-bytes if the file is right",
                    self.limits.file_bytes
                ),
            ));
        }
        if self.produced > RATIO_FLOOR && self.produced > self.ratio_limit {
            return Err(Error::new(
                Kind::Input,
                format!(
                    "{path}: expected at most {} times its {} stored bytes, found {} and more; raise \
                     limits.decompression-ratio if the file is right",
                    self.limits.decompression_ratio, self.stored_bytes, self.produced
                ),
            ));
        }
        Ok(())
    }

    /// BLAKE3 of all bytes so far, in hex, and how many they were.
    pub(super) fn digest(&self) -> (String, u64) {
        (self.hasher.finalize().to_hex().to_string(), self.produced)
    }
}
