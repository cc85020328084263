//! Every input from which the fuzzer of transactions starts, those that it failed on once among them.

mod requests;

#[test]
fn each_input_of_the_corpus_leaves_rows_and_tables_in_step() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/api");
    let mut inputs = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        requests::requests(&std::fs::read(entry.unwrap().path()).unwrap());
        inputs += 1;
    }
    assert!(inputs > 8);
}
