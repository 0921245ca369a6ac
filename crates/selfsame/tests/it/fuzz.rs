//! The kept corpus of the fuzz targets, run as a plain test: nothing that once was interesting may break anything.

use std::path::Path;

#[path = "../../../../fuzz/inputs.rs"]
mod inputs;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = std::fs::read_dir(folder).expect("the corpus of the target");
    let read = |file: std::io::Result<std::fs::DirEntry>| std::fs::read(file.expect("a file").path());
    let corpus: Vec<_> = files.map(|file| read(file).expect("a readable file")).collect();
    assert!(corpus.len() >= 10, "the corpus of `{target}` is nearly empty");
    corpus
}

/// Each file whole, cut off at eight places, and with each of its first bytes altered.
fn run(target: &str, input: fn(&[u8])) {
    for mut bytes in corpus(target) {
        input(&bytes);
        for eighth in 0..8 {
            input(&bytes[..bytes.len() * eighth / 8]);
        }
        for place in 0..bytes.len().min(64) {
            bytes[place] ^= 0x55;
            input(&bytes);
            bytes[place] ^= 0x55;
        }
    }
}

#[test]
fn no_picture_of_the_corpus_breaks_anything() {
    run("picture", inputs::picture);
}

#[test]
fn no_frame_of_the_corpus_breaks_or_opens_anything() {
    run("frame", inputs::frame);
}

#[test]
fn no_template_of_the_corpus_breaks_anything() {
    run("template", inputs::template);
}
