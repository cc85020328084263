//! The operations of a transaction, where the client's text has them.

use crate::document::{Document, Json};
use serde_json::Value;

/// Operations in the order in which they are executed.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Operations {
    document: Document,
    /// Where each is.
    places: Vec<u32>,
}

impl Operations {
    /// The elements of the array at a place of a document but for some at its beginning.
    pub fn of(document: Document, place: usize, but: usize) -> Self {
        let elements = document.at(place).elements();
        let places = elements.into_iter().flatten().skip(but).map(|json| json.place() as u32);
        Self { places: places.collect(), document }
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// One of them, from 0.
    pub fn get(&self, at: usize) -> Option<Json<'_>> {
        self.places.get(at).map(|place| self.document.at(*place as usize))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Json<'_>> {
        self.places.iter().map(|place| self.document.at(*place as usize))
    }
}

impl From<&Value> for Operations {
    /// Of an array.
    fn from(list: &Value) -> Self {
        Self::of(Document::from(list), 0, 0)
    }
}
