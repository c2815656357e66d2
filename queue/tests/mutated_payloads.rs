//! Payload decoding against the fuzzer's seeds, mutated at random from a fixed seed: the small form of `./dev fuzz`, which
//! looks for new paths for as long as it is given. Both check the same property.

#[path = "../fuzz/targets/property.rs"]
mod property;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::{Compression, write::ZlibEncoder};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};

const SEED: u64 = 20_261_128;
const MUTATIONS: usize = 60_000;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn seeds() -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(fuzz().join("corpus/payload"))
        .expect("seeds")
        .map(|entry| entry.expect("a seed").path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a seed")).collect()
}

/// The words of libFuzzer's dictionary: quoted, with `\xNN` for bytes that are not text.
fn dictionary() -> Vec<Vec<u8>> {
    let text = fs::read_to_string(fuzz().join("pickle.dict")).expect("the dictionary");
    let quoted = text.lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    quoted.map(unescaped).collect()
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let code = after.strip_prefix('x').and_then(|hex| u8::from_str_radix(hex.get(..2)?, 16).ok());
        let (byte, length) = code.map_or((after.as_bytes()[0], 1), |byte| (byte, 3));
        bytes.push(byte);
        rest = &after[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// One to four changes: a byte, a word of the dictionary, a part left out, repeated, or taken from another seed.
fn mutated(rng: &mut StdRng, seeds: &[Vec<u8>], words: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds.choose(rng).expect("there are seeds").clone();
    for _ in 0..rng.random_range(1..=4) {
        let at = rng.random_range(0..=bytes.len());
        let end = rng.random_range(at..=bytes.len().min(at + 64));
        match rng.random_range(0..6) {
            0 if at < bytes.len() => bytes[at] = rng.random(),
            1 => drop(bytes.splice(at..at, words.choose(rng).expect("there are words").iter().copied())),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let part = bytes[at..end].repeat(rng.random_range(1..=24));
                drop(bytes.splice(end..end, part));
            }
            4 => {
                let other = seeds.choose(rng).expect("there are seeds");
                let from = rng.random_range(0..=other.len());
                drop(bytes.splice(at..end, other[from..].iter().copied()));
            }
            _ => bytes[at..end].shuffle(rng),
        }
        bytes.truncate(4 << 10);
    }
    bytes
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

#[test]
fn mutated_payloads_are_decoded_or_refused_within_the_limits() {
    let (seeds, words) = (seeds(), dictionary());
    let mut rng = StdRng::seed_from_u64(SEED);
    assert!(seeds.len() > 30 && words.len() > 20, "{} seeds, {} words", seeds.len(), words.len());
    let calls = seeds.iter().filter(|seed| property::check(seed)).count();
    assert!(calls > 20, "only {calls} of {} seeds are calls", seeds.len());
    let mut decoded = 0;
    for number in 0..MUTATIONS {
        let bytes = mutated(&mut rng, &seeds, &words);
        let bytes = if number % 8 == 0 { zlib(&bytes) } else { bytes };
        decoded += usize::from(property::check(&bytes));
    }
    // Both ways are taken often: some of it is still a call, most of it is not.
    assert!((MUTATIONS / 50..MUTATIONS * 9 / 10).contains(&decoded), "{decoded} of {MUTATIONS} were decoded");
}
