//! Values and updates as text: what is written is read back, and nothing makes the reader panic.

use std::sync::Arc;

use ovn_xdp_ovsdb::intern::Interner;
use ovn_xdp_ovsdb::monitor::{Notation, RowChange, RowUpdate, Shapes, UpdatesSeed};
use ovn_xdp_ovsdb::schema::ColumnType;
use ovn_xdp_ovsdb::shape::Shape;
use ovn_xdp_ovsdb::value::{Atom, AtomType, Datum};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

const ROW: &str = "3e0ffd8e-d587-4828-bea3-62f5ae6fa643";

const TYPES: [AtomType; 5] =
    [AtomType::Integer, AtomType::Real, AtomType::Boolean, AtomType::String, AtomType::Uuid];

fn atom_type() -> impl Strategy<Value = AtomType> {
    prop::sample::select(&TYPES[..])
}

fn atom(kind: AtomType) -> BoxedStrategy<Atom> {
    match kind {
        AtomType::Integer => any::<i64>().prop_map(Atom::from).boxed(),
        AtomType::Real => {
            prop_oneof![prop::num::f64::NORMAL, prop::num::f64::ZERO].prop_map(Atom::from).boxed()
        }
        AtomType::Boolean => any::<bool>().prop_map(Atom::from).boxed(),
        AtomType::String => ".{0,8}".prop_map(Atom::from).boxed(),
        AtomType::Uuid => any::<u128>().prop_map(|n| Atom::from(Uuid::from_u128(n))).boxed(),
    }
}

fn column() -> impl Strategy<Value = (ColumnType, Datum)> {
    let set = (atom_type(), any::<bool>()).prop_flat_map(|(key, optional)| {
        let max = if optional { 1 } else { usize::MAX };
        prop::collection::vec(atom(key), 0..=max.min(4)).prop_map(move |atoms| {
            (ColumnType { key, value: None, min: 0, max, few: max == 1 }, Datum::set(atoms))
        })
    });
    let map = (atom_type(), atom_type()).prop_flat_map(|(key, value)| {
        prop::collection::vec((atom(key), atom(value)), 0..4).prop_map(move |pairs| {
            let max = usize::MAX;
            let kind = ColumnType { key, value: Some(value), min: 0, max, few: false };
            (kind, Datum::map(pairs))
        })
    });
    prop_oneof![set, map]
}

fn shapes(kind: ColumnType) -> Shapes {
    Shapes::single(Shape::new("T", [(Arc::from("c"), kind)]))
}

fn parse(shapes: &Shapes, text: &str) -> Result<Vec<RowUpdate>, serde_json::Error> {
    let strings = &mut Interner::default();
    UpdatesSeed { shapes, notation: Notation::Difference, strings }.parse(text)
}

fn inserted(kind: ColumnType, value: &Value) -> Result<Datum, String> {
    let text = json!({"T": {ROW: {"insert": {"c": value}}}}).to_string();
    let mut updates = parse(&shapes(kind), &text).map_err(|error| error.to_string())?;
    match updates.pop().map(|update| update.change) {
        Some(RowChange::Insert(row)) => Ok(row.get("c").unwrap()),
        other => Err(format!("{other:?}")),
    }
}

proptest! {
    #[test]
    fn a_value_that_is_written_is_read_back_the_same((kind, datum) in column()) {
        prop_assert_eq!(inserted(kind, &datum.to_json()), Ok(datum));
    }

    #[test]
    fn a_set_of_one_is_read_in_both_notations(kind in atom_type(), number in any::<u64>()) {
        let one = match kind {
            AtomType::Integer => Atom::from(number as i64),
            AtomType::Real => Atom::from(number as f64),
            AtomType::Boolean => Atom::from(number % 2 == 0),
            AtomType::String => Atom::from(number.to_string()),
            AtomType::Uuid => Atom::from(Uuid::from_u128(number.into())),
        };
        let kind = ColumnType::scalar(kind);
        let bare = inserted(kind.clone(), &one.to_json());
        prop_assert_eq!(&bare, &inserted(kind, &json!(["set", [one.to_json()]])));
        prop_assert_eq!(bare, Ok(Datum::from(one)));
    }

    #[test]
    fn a_wrong_value_is_an_error_with_its_table_column_and_position(
        (kind, _) in column(),
        text in "(\\[|\\]|\"set\"|\"map\"|\"uuid\"|,|1|-1e9|true|null|\"\"|\\{|\\}|:){1,12}",
    ) {
        let message = format!("{{\"T\":{{\"{ROW}\":{{\"insert\":{{\"c\":{text}}}}}}}}}");
        let json = serde_json::from_str::<Value>(&message);
        match parse(&shapes(kind), &message) {
            Ok(_) => prop_assert!(json.is_ok(), "{message}"),
            Err(error) => {
                prop_assert!(error.line() == 1 && error.column() > 0, "{error}");
                let place = error.to_string();
                prop_assert!(json.is_err() || place.contains("table T, column c"), "{place}");
            }
        }
    }

    #[test]
    fn no_text_makes_the_reader_of_updates_panic(
        text in prop_oneof![
            ".{0,60}",
            "\\{\"T\":\\{(\"3e0ffd8e-d587-4828-bea3-62f5ae6fa643\":\\{(\"(insert|modify|delete|old)\":(null|\\{\"c\":1\\}|\\{\\}|7),?){0,3}\\},?){0,3}\\}\\}",
        ],
        plain in any::<bool>(),
    ) {
        let shapes = shapes(ColumnType::scalar(AtomType::Integer));
        let notation = if plain { Notation::OldAndNew } else { Notation::Difference };
        let _ = UpdatesSeed { shapes: &shapes, notation, strings: &mut Interner::default() }.parse(&text);
    }

    #[test]
    fn an_old_value_and_its_difference_give_the_new_value(
        old in prop::collection::btree_map(0..6i64, 0..3i64, 0..6),
        new in prop::collection::btree_map(0..6i64, 0..3i64, 0..6),
    ) {
        // As ovsdb-server(7), section 4.1.14, defines it, said in another way.
        let only = |a: &std::collections::BTreeMap<i64, i64>, b: &std::collections::BTreeMap<i64, i64>| {
            a.iter().filter(|(k, _)| !b.contains_key(k)).map(|(k, v)| (*k, *v)).collect::<Vec<_>>()
        };
        let mut pairs = only(&old, &new);
        pairs.extend(only(&new, &old));
        pairs.extend(new.iter().filter(|(k, v)| old.get(k).is_some_and(|o| o != *v)).map(|(k, v)| (*k, *v)));
        let map = |map: &std::collections::BTreeMap<i64, i64>| Datum::map(map.clone());
        prop_assert_eq!(map(&old).apply_difference(&Datum::map(pairs)), map(&new));

        let set = |map: &std::collections::BTreeMap<i64, i64>| Datum::set(map.keys().copied());
        let keys = only(&old, &new).into_iter().chain(only(&new, &old)).map(|(k, _)| k);
        prop_assert_eq!(set(&old).apply_difference(&Datum::set(keys)), set(&new));
    }
}

#[test]
fn each_wrong_value_is_told_what_was_expected_and_found() {
    let scalar = |kind| ColumnType::scalar(kind);
    let set = ColumnType { max: usize::MAX, ..ColumnType::optional(AtomType::Integer) };
    for (kind, value, told) in [
        (scalar(AtomType::String), json!(7), "expected string, found integer `7`"),
        (scalar(AtomType::Integer), json!("7"), "expected integer, found string \"7\""),
        (scalar(AtomType::Integer), json!(1.5), "expected integer, found floating point `1.5`"),
        (scalar(AtomType::Uuid), json!(["uuid", "x"]), "expected uuid, found \"x\" as a UUID"),
        (scalar(AtomType::Boolean), json!(["set", []]), "expected boolean, found 0 elements"),
        (ColumnType::optional(AtomType::Integer), json!(["set", [1, 2]]), "found 2 elements"),
        (set.clone(), json!(["set", [1, 1]]), "found an element that is there twice"),
        (set.clone(), json!(["map", []]), "expected set of integer, found a map"),
        (set.clone(), json!(["bag", []]), "found an array that starts with \"bag\""),
        (set.clone(), json!(["set"]), "found an array that ends too soon"),
        (set, json!(["set", [], 1]), "found an array that is too long"),
    ] {
        let error = inserted(kind, &value).expect_err("a wrong value");
        assert!(error.starts_with("table T, column c: ") && error.contains(told), "{error}");
        assert!(error.contains(" at line 1 column "), "{error}");
    }
}

#[test]
fn an_integer_may_be_written_as_a_whole_real() {
    let kind = || ColumnType::scalar(AtomType::Integer);
    assert_eq!(inserted(kind(), &json!(1e3)), Ok(Datum::from(1000)));
    assert!(inserted(kind(), &json!(1e300)).is_err());
    assert_eq!(inserted(ColumnType::scalar(AtomType::Real), &json!(-0.0)), Ok(Datum::from(0.0)));
}
