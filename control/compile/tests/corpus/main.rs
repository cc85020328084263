//! Every input from which the fuzzer of frames starts, those that it failed on once among them.

mod frames;

#[test]
fn each_frame_of_the_corpus_is_sent_or_released_once_and_as_a_walk_without_a_cache_says() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/frames");
    let mut inputs = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        frames::frames(&std::fs::read(entry.unwrap().path()).unwrap());
        inputs += 1;
    }
    assert!(inputs > 10);
}
