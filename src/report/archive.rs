//! A gzipped tar file with fixed bytes: how a replaced run is kept.
//!
//! POSIX ustar (IEEE Std 1003.1, pax, "ustar Interchange Format"), one regular file per entry, owner 0, mode 0644, time
//! 0, so that equal runs give equal archives. Any `tar xzf` opens it.

use std::io::{self, Write};

use flate2::{Compression, GzBuilder};

const BLOCK: usize = 512;

/// The archive of the files, in the given order. Names are at most 100 bytes and sizes below 8 GiB (ustar's fields).
pub fn tar_gz(files: &[(&str, &[u8])]) -> io::Result<Vec<u8>> {
    let mut gz = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::default());
    for (name, bytes) in files {
        gz.write_all(&header(name, bytes.len())?)?;
        gz.write_all(bytes)?;
        gz.write_all(&[0; BLOCK][..bytes.len().next_multiple_of(BLOCK) - bytes.len()])?;
    }
    gz.write_all(&[0; 2 * BLOCK])?;
    gz.finish()
}

fn header(name: &str, size: usize) -> io::Result<[u8; BLOCK]> {
    if name.len() > 100 || size >= 1 << 33 {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the run is too large for its archive"));
    }
    let mut h = [0u8; BLOCK];
    let mut put = |at: usize, text: &str| h[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, "00000000000");
    // The checksum is taken with its own field as spaces.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    put(329, "0000000");
    put(337, "0000000");
    let sum: u32 = h.iter().map(|&b| u32::from(b)).sum();
    h[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(h)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_archive_has_the_layout_of_ustar_and_fixed_bytes() {
        let files: [(&str, &[u8]); 2] = [("run.json", b"{}\n"), ("empty", b"")];
        let gz = tar_gz(&files).unwrap();
        assert_eq!(gz, tar_gz(&files).unwrap());
        let mut tar = Vec::new();
        flate2::read::GzDecoder::new(&gz[..]).read_to_end(&mut tar).unwrap();
        assert_eq!(tar.len(), 5 * BLOCK, "header, data, header, two zero blocks");
        assert_eq!(&tar[..8], b"run.json");
        assert_eq!(&tar[124..136], b"00000000003\0");
        assert_eq!(&tar[257..265], b"ustar\x0000");
        assert_eq!(&tar[512..515], b"{}\n");
        // GNU tar 1.34 `tar --format=ustar --owner=0 --group=0 --mode=644 --mtime=@0` gives the same checksum field.
        assert_eq!(&tar[148..156], b"010675\0 ");
    }
}
