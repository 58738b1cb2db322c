//! Unpacks a packed tar archive while it is read, exactly as far as a node's own tools unpack it: every stream of a
//! file counts, not only the first one.

use std::io::{self, BufRead, BufReader, Read};
use std::mem;

use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use crate::node::Packing;

/// The memory for unpacking xz, in KiB. Its strongest preset needs 65 MiB.
const XZ_MEMORY: u32 = 256 * 1024;

/// The first bytes of a frame of zstd that has no data are these, in any order of the last four bits.
const SKIPPABLE: u32 = 0x184D_2A50;

/// Returns the tar archive in a packed one.
pub(super) fn tar<'a>(packing: &Packing, packed: impl Read + 'a) -> Box<dyn Read + 'a> {
    match packing {
        Packing::TarGz => Box::new(MultiGzDecoder::new(packed)),
        Packing::TarXz => {
            Box::new(XzReader::new_mem_limit(BufReader::new(packed), true, XZ_MEMORY))
        }
        Packing::TarBz2 => Box::new(MultiBzDecoder::new(packed)),
        Packing::TarZst => Box::new(Frames::Between(BufReader::new(packed))),
        Packing::Tar | Packing::Zip | Packing::File(_) => Box::new(packed),
    }
}

/// The data of all frames of zstd.
#[derive(Default)]
enum Frames<R: Read> {
    Between(BufReader<R>),
    Within(Box<StreamingDecoder<BufReader<R>, FrameDecoder>>),
    #[default]
    Ended,
}

impl<R: Read> Frames<R> {
    /// Begins the next frame with data.
    fn begin(mut packed: BufReader<R>) -> io::Result<Self> {
        loop {
            if packed.fill_buf()?.is_empty() {
                return Ok(Self::Ended);
            }
            let magic =
                packed.fill_buf()?.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
            if magic & !0xF != SKIPPABLE {
                let frame = StreamingDecoder::new_with_decoder(packed, FrameDecoder::new());
                return Ok(Self::Within(Box::new(frame.map_err(io::Error::other)?)));
            }
            let mut head = [0; 8];
            packed.read_exact(&mut head)?;
            let length = head.last_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
            let skipped = io::copy(&mut packed.by_ref().take(length.into()), &mut io::sink())?;
            if skipped < u64::from(length) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match mem::take(self) {
                Self::Ended => return Ok(0),
                Self::Between(packed) => *self = Self::begin(packed)?,
                Self::Within(mut frame) => {
                    let count = frame.read(buffer)?;
                    if count > 0 || buffer.is_empty() {
                        *self = Self::Within(frame);
                        return Ok(count);
                    }
                    let (told, seen) = (
                        frame.decoder.get_checksum_from_data(),
                        frame.decoder.get_calculated_checksum(),
                    );
                    if told.is_some_and(|told| Some(told) != seen) {
                        return Err(io::Error::other("a checksum of zstd is wrong"));
                    }
                    *self = Self::Between(frame.into_inner());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// What a tool of this machine packs.
    fn packed(tool: &str, bytes: &[u8]) -> Vec<u8> {
        let mut child = Command::new(tool)
            .arg("-c")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{tool}: {error}; scripts/setup installs it"));
        let mut input = child.stdin.take().expect("piped");
        let bytes = bytes.to_vec();
        let writer = std::thread::spawn(move || io::Write::write_all(&mut input, &bytes));
        let output = child.wait_with_output().expect("it runs");
        writer.join().expect("no panic").expect("written");
        output.stdout
    }

    const ALL: [(&str, Packing); 4] = [
        ("gzip", Packing::TarGz),
        ("xz", Packing::TarXz),
        ("bzip2", Packing::TarBz2),
        ("zstd", Packing::TarZst),
    ];

    #[test]
    fn every_stream_of_a_file_is_unpacked() {
        let part = b"abc".repeat(100_000);
        for (tool, packing) in ALL {
            let file = [packed(tool, &part), packed(tool, b"rest")].concat();
            let mut seen = Vec::new();
            tar(&packing, file.as_slice()).read_to_end(&mut seen).expect(tool);
            assert_eq!(seen.len(), 300_004, "{tool}");
            assert!(seen.ends_with(b"abcrest"), "{tool}");
        }
    }

    #[test]
    fn damaged_file_is_an_error() {
        for (tool, packing) in ALL {
            let good = packed(tool, &b"abcdefgh".repeat(1000));
            for at in [good.len() / 2, good.len() - 1] {
                let cut = tar(&packing, &good[..at]).read_to_end(&mut Vec::new());
                assert!(cut.is_err(), "{tool} cut at {at}");
            }
        }
    }

    #[test]
    fn frame_without_data_is_skipped() {
        let skipped = [&0x184D_2A5A_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), b"xyz"].concat();
        let file = [skipped.clone(), packed("zstd", b"data"), skipped].concat();
        let mut seen = Vec::new();
        tar(&Packing::TarZst, file.as_slice()).read_to_end(&mut seen).expect("zstd");
        assert_eq!(seen, b"data");
    }
}
