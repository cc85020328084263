//! A JSON text as a client sent it, and what is where in it.
//!
//! A request may hold a hundred thousand operations. They are read once, into one list of what comes
//! one after the other in the text, whose strings stay where they are; [`Json`] is a place in it.
//! There is no tree, and nothing in it has an allocation of its own.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// A text of JSON that was read.
#[derive(Clone, Default)]
pub struct Document {
    text: String,
    /// Strings that are written otherwise than they read, one behind the other.
    unescaped: String,
    nodes: Vec<Node>,
}

/// What begins at a place.
#[derive(Clone, Copy, Debug)]
enum Node {
    Null,
    Boolean(bool),
    Integer(i64),
    /// Above what an `i64` holds.
    Unsigned(u64),
    Real(f64),
    /// From here to there in the text.
    Text(u32, u32),
    /// From here to there among what was unescaped.
    Unescaped(u32, u32),
    /// Elements follow, up to this node.
    Array(u32),
    /// Names and values follow, up to this node.
    Object(u32),
}

/// A value in a document.
#[derive(Clone, Copy)]
pub struct Json<'a> {
    document: &'a Document,
    at: usize,
}

impl Document {
    /// Reads a text.
    ///
    /// # Errors
    /// What is wrong with it, with line and column.
    pub fn read(text: String) -> Result<Self, serde_json::Error> {
        if u32::try_from(text.len()).is_err() {
            return Err(Error::custom("expected at most 4 GiB"));
        }
        let (mut unescaped, mut nodes) = (String::new(), Vec::new());
        let mut deserializer = serde_json::Deserializer::from_str(&text);
        let reading = Reading { text: &text, unescaped: &mut unescaped, nodes: &mut nodes };
        reading.deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(Self { text, unescaped, nodes })
    }

    /// All of it; null if nothing was read.
    pub fn root(&self) -> Json<'_> {
        Json { document: self, at: 0 }
    }

    /// The value at a place that [`Json::place`] gave.
    pub fn at(&self, place: usize) -> Json<'_> {
        Json { document: self, at: place }
    }

    fn node(&self, at: usize) -> Node {
        self.nodes.get(at).copied().unwrap_or(Node::Null)
    }

    /// The node behind the value at a place.
    fn behind(&self, at: usize) -> usize {
        match self.node(at) {
            Node::Array(end) | Node::Object(end) => end as usize,
            _ => at + 1,
        }
    }
}

impl From<&Value> for Document {
    fn from(value: &Value) -> Self {
        Self::read(value.to_string()).unwrap_or_default()
    }
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        self.root() == other.root()
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'a> Json<'a> {
    /// Where it is in its document.
    pub fn place(self) -> usize {
        self.at
    }

    /// Whether it is null, or not there at all.
    pub fn is_null(self) -> bool {
        matches!(self.document.node(self.at), Node::Null)
    }

    /// A string.
    pub fn as_str(self) -> Option<&'a str> {
        let Document { text, unescaped, .. } = self.document;
        match self.document.node(self.at) {
            Node::Text(start, end) => text.get(start as usize..end as usize),
            Node::Unescaped(start, end) => unescaped.get(start as usize..end as usize),
            _ => None,
        }
    }

    /// An integer of 64 bits with a sign.
    pub fn as_i64(self) -> Option<i64> {
        match self.document.node(self.at) {
            Node::Integer(number) => Some(number),
            _ => None,
        }
    }

    /// Any number.
    pub fn as_f64(self) -> Option<f64> {
        match self.document.node(self.at) {
            Node::Integer(number) => Some(number as f64),
            Node::Unsigned(number) => Some(number as f64),
            Node::Real(number) => Some(number),
            _ => None,
        }
    }

    /// A truth value.
    pub fn as_bool(self) -> Option<bool> {
        match self.document.node(self.at) {
            Node::Boolean(truth) => Some(truth),
            _ => None,
        }
    }

    /// The elements of an array.
    pub fn elements(self) -> Option<Elements<'a>> {
        match self.document.node(self.at) {
            Node::Array(end) => {
                Some(Elements { document: self.document, next: self.at + 1, end: end as usize })
            }
            _ => None,
        }
    }

    /// The elements of an array that has just so many.
    pub fn fixed<const N: usize>(self) -> Option<[Self; N]> {
        let mut elements = self.elements()?;
        let mut found = [self; N];
        for place in &mut found {
            *place = elements.next()?;
        }
        elements.next().is_none().then_some(found)
    }

    /// Names and values of an object, as they come: a name may be there twice, and then the last
    /// counts.
    pub fn members(self) -> Option<impl Iterator<Item = (&'a str, Self)>> {
        let Node::Object(end) = self.document.node(self.at) else { return None };
        let mut all = Elements { document: self.document, next: self.at + 1, end: end as usize };
        Some(std::iter::from_fn(move || Some((all.next()?.as_str()?, all.next()?))))
    }

    /// A member of an object.
    pub fn get(self, name: &str) -> Option<Self> {
        let members = self.members()?;
        members.filter(|(known, _)| *known == name).last().map(|(_, value)| value)
    }

    /// A member of an object; null if there is none.
    pub fn member(self, name: &str) -> Self {
        self.get(name).unwrap_or(Self { at: usize::MAX, ..self })
    }

    /// As a tree, for people.
    pub fn to_value(self) -> Value {
        if let Some(elements) = self.elements() {
            return elements.map(Self::to_value).collect();
        }
        if let Some(members) = self.members() {
            let members = members.map(|(name, value)| (name.to_owned(), value.to_value()));
            return Value::Object(members.collect::<Map<_, _>>());
        }
        match self.document.node(self.at) {
            Node::Boolean(truth) => truth.into(),
            Node::Integer(number) => number.into(),
            Node::Unsigned(number) => number.into(),
            Node::Real(number) => number.into(),
            _ => self.as_str().map_or(Value::Null, Value::from),
        }
    }
}

impl PartialEq for Json<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.to_value() == other.to_value()
    }
}

impl fmt::Debug for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_value().fmt(f)
    }
}

/// The elements of an array, one after the other.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    document: &'a Document,
    next: usize,
    end: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Json<'a>> {
        let at = self.next;
        (at < self.end).then(|| {
            self.next = self.document.behind(at);
            Json { document: self.document, at }
        })
    }
}

/// Puts a value, and what is in it, at the end of the list.
struct Reading<'a> {
    text: &'a str,
    unescaped: &'a mut String,
    nodes: &'a mut Vec<Node>,
}

impl Reading<'_> {
    fn another(&mut self) -> Reading<'_> {
        Reading { text: self.text, unescaped: self.unescaped, nodes: self.nodes }
    }

    fn put<E>(self, node: Node) -> Result<(), E> {
        self.nodes.push(node);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.put(Node::Null)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<(), E> {
        self.put(Node::Boolean(truth))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.put(Node::Integer(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.put(i64::try_from(number).map_or(Node::Unsigned(number), Node::Integer))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.put(Node::Real(number))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<(), E> {
        // The address is only subtracted: where in the text the string is.
        let start = (text.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        self.put(Node::Text(start as u32, (start + text.len()) as u32))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let start = self.unescaped.len();
        self.unescaped.push_str(text);
        let end = self.unescaped.len();
        self.put(Node::Unescaped(start as u32, end as u32))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let at = self.nodes.len();
        self.nodes.push(Node::Null);
        while seq.next_element_seed(self.another())?.is_some() {}
        self.nodes[at] = Node::Array(self.nodes.len() as u32);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let at = self.nodes.len();
        self.nodes.push(Node::Null);
        while map.next_key_seed(self.another())?.is_some() {
            map.next_value_seed(self.another())?;
        }
        self.nodes[at] = Node::Object(self.nodes.len() as u32);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e9..1e9).prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            Just(Value::from("\\\"}{][\n\u{1}")),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(".{0,4}", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// What can be asked of a value is what a tree answers.
    fn same(json: Json<'_>, value: &Value) {
        assert_eq!(json.as_str(), value.as_str());
        assert_eq!(json.as_i64(), value.as_i64());
        assert_eq!(json.as_f64(), value.as_f64());
        assert_eq!(json.as_bool(), value.as_bool());
        assert_eq!(json.is_null(), value.is_null());
        assert_eq!(json.elements().map(Iterator::count), value.as_array().map(Vec::len));
        let elements = json.elements().into_iter().flatten();
        for (json, value) in elements.zip(value.as_array().into_iter().flatten()) {
            same(json, value);
        }
        assert_eq!(json.members().map(Iterator::count), value.as_object().map(Map::len));
        for (name, value) in value.as_object().into_iter().flatten() {
            same(json.get(name).unwrap(), value);
        }
        assert_eq!(json.get("no such name"), None);
        assert_eq!(json.to_value(), *value);
    }

    proptest! {
        #[test]
        fn a_document_answers_as_a_tree_does(value in json()) {
            same(Document::read(value.to_string()).unwrap().root(), &value);
        }

        #[test]
        fn what_a_tree_does_not_read_is_refused_in_the_same_words(
            text in prop_oneof![any::<String>(), "[{}\\[\\]\",:\\\\a0e.\\- tru]{0,40}"],
        ) {
            let read = Document::read(text.clone()).map(|document| document.root().to_value());
            let expected = serde_json::from_str::<Value>(&text);
            prop_assert_eq!(
                read.map_err(|error| error.to_string()),
                expected.map_err(|error| error.to_string())
            );
        }
    }

    #[test]
    fn of_a_name_that_is_there_twice_the_last_counts() {
        let document = Document::read(r#"{"a": 1, "a": [2]}"#.to_owned()).unwrap();
        let last = document.root().get("a").unwrap();
        assert_eq!(last.fixed().map(|[one]| one.as_i64()), Some(Some(2)));
        assert_eq!(last.fixed::<2>(), None);
    }
}
