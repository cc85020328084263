//! JSON-RPC 1.0 messages on a byte stream (RFC 7047, section 4).
//!
//! OVSDB puts one JSON object after the other with nothing between them, so the end of a message
//! is where its braces close. [`Framer`] finds that place as bytes come in, each byte looked at
//! once; [`Message`] then splits the object into its members without building a tree of what is
//! inside, so that a download of any size is parsed only once, by whoever knows its types.
//!
//! Nothing here panics on any input; an error says at which byte of the stream it was met.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The longest message that is accepted if nothing else is said: 1 GiB.
///
/// The first download of a database is one message, and a Southbound database of a million flows
/// takes about half of this.
pub const DEFAULT_LIMIT: usize = 1 << 30;

/// What is wrong with what the server sent.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Between two messages there is something that opens none.
    #[error("at byte {offset} of the stream: expected a JSON object, found {found:?}")]
    NotAnObject {
        /// Bytes since the connection was made.
        offset: u64,
        /// The byte that is there.
        found: char,
    },
    /// A message does not end.
    #[error("at byte {offset} of the stream: a message longer than the limit of {limit} bytes")]
    TooLong {
        /// Bytes since the connection was made, at the start of the message.
        offset: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// The object is not a JSON-RPC message.
    #[error("in the message at byte {offset} of the stream: {reason}")]
    NotRpc {
        /// Bytes since the connection was made, at the start of the message.
        offset: u64,
        /// What was expected and found.
        reason: String,
    },
}

/// Cuts a byte stream into JSON objects.
#[derive(Debug)]
pub struct Framer {
    buffer: Vec<u8>,
    start: usize,
    scanned: usize,
    depth: usize,
    in_string: bool,
    consumed: u64,
    limit: usize,
}

/// One JSON object, and where in the stream it began.
#[derive(Debug)]
pub struct Frame {
    /// The bytes from the opening to the closing brace.
    pub bytes: Vec<u8>,
    /// Bytes since the connection was made.
    pub offset: u64,
}

impl Framer {
    /// A framer that accepts messages of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            depth: 0,
            in_string: false,
            consumed: 0,
            limit,
        }
    }

    /// Where newly read bytes are appended.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// The next complete object, or none if more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, WireError> {
        if let Some(end) = self.scan()? {
            return self.cut(end).map(Some);
        }
        let waiting = self.buffer.len() - self.start;
        if waiting > self.limit {
            return Err(self.too_long());
        }
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        Ok(None)
    }

    /// Looks for the end of an object; returns the place behind it.
    fn scan(&mut self) -> Result<Option<usize>, WireError> {
        while self.scanned < self.buffer.len() {
            let rest = &self.buffer[self.scanned..];
            if self.in_string {
                let Some(found) = memchr::memchr2(b'"', b'\\', rest) else {
                    self.scanned = self.buffer.len();
                    break;
                };
                if rest[found] == b'"' {
                    self.in_string = false;
                    self.scanned += found + 1;
                } else if found + 1 < rest.len() {
                    self.scanned += found + 2;
                } else {
                    self.scanned += found;
                    break;
                }
                continue;
            }
            let byte = rest[0];
            if self.depth == 0 && byte != b'{' {
                if byte.is_ascii_whitespace() {
                    self.scanned += 1;
                    self.consumed += 1;
                    self.start = self.scanned;
                    continue;
                }
                return Err(WireError::NotAnObject { offset: self.consumed, found: byte.into() });
            }
            self.scanned += 1;
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Ok(Some(self.scanned));
                    }
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn too_long(&self) -> WireError {
        WireError::TooLong { offset: self.consumed, limit: self.limit }
    }

    fn cut(&mut self, end: usize) -> Result<Frame, WireError> {
        let (start, offset) = (self.start, self.consumed);
        if end - start > self.limit {
            return Err(self.too_long());
        }
        self.consumed += (end - start) as u64;
        let bytes = if start == 0 && end == self.buffer.len() {
            self.start = 0;
            self.scanned = 0;
            std::mem::take(&mut self.buffer)
        } else {
            self.start = end;
            self.buffer[start..end].to_vec()
        };
        Ok(Frame { bytes, offset })
    }
}

/// A JSON-RPC message.
#[derive(Debug)]
pub struct Message {
    frame: Frame,
    /// What kind of message it is.
    pub kind: Kind,
}

/// A part of a message's text; read it with [`Message::text`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Part(Range<usize>);

/// The kinds of message.
#[derive(Debug)]
pub enum Kind {
    /// A call that wants an answer.
    Request {
        /// The method.
        method: String,
        /// The parameters, usually an array.
        params: Part,
        /// The identifier for the answer; any JSON value.
        id: Value,
    },
    /// A call that wants no answer.
    Notification {
        /// The method.
        method: String,
        /// The parameters, usually an array.
        params: Part,
    },
    /// The answer to a call.
    Reply {
        /// The identifier of the call.
        id: Value,
        /// The result, or the error.
        outcome: Result<Part, Value>,
    },
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<Value>,
    id: Option<Value>,
}

impl Message {
    /// Reads the members of a JSON-RPC message.
    pub fn parse(frame: Frame) -> Result<Self, WireError> {
        let wrong = |reason: String| WireError::NotRpc { offset: frame.offset, reason };
        let envelope: Envelope<'_> =
            serde_json::from_slice(&frame.bytes).map_err(|error| wrong(error.to_string()))?;
        let part = |raw: Option<&RawValue>| match raw {
            // The address is only subtracted: where in the frame the member is.
            Some(raw) => {
                let start = raw.get().as_ptr() as usize - frame.bytes.as_ptr() as usize;
                Part(start..start + raw.get().len())
            }
            None => Part(0..0),
        };
        let params = part(envelope.params);
        let kind = match (envelope.method, envelope.id) {
            (Some(method), Some(id)) => Kind::Request { method: method.into_owned(), params, id },
            (Some(method), None) => Kind::Notification { method: method.into_owned(), params },
            (None, Some(id)) => Kind::Reply {
                id,
                outcome: match envelope.error {
                    Some(error) => Err(error),
                    None => Ok(part(envelope.result)),
                },
            },
            (None, None) => {
                return Err(wrong("expected a method or an id, found neither".to_owned()));
            }
        };
        Ok(Self { frame, kind })
    }

    /// The text of a part of this message; `null` where the message has no such member.
    pub fn text(&self, part: &Part) -> &str {
        let bytes = self.frame.bytes.get(part.0.clone()).filter(|bytes| !bytes.is_empty());
        bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("null")
    }

    /// The elements of a part that is an array.
    pub fn elements(&self, part: &Part) -> Result<Vec<Part>, WireError> {
        let text = self.text(part);
        let elements: Vec<&RawValue> =
            serde_json::from_str(text).map_err(|error| self.wrong(part, &error))?;
        let place = |raw: &RawValue| {
            let start = part.0.start + (raw.get().as_ptr() as usize - text.as_ptr() as usize);
            Part(start..start + raw.get().len())
        };
        Ok(elements.into_iter().map(place).collect())
    }

    /// A part as a value of any type that can be read from JSON.
    pub fn read<'a, T: Deserialize<'a>>(&'a self, part: &Part) -> Result<T, WireError> {
        serde_json::from_str(self.text(part)).map_err(|error| self.wrong(part, &error))
    }

    /// A part that another JSON shape was expected of.
    pub fn unexpected(&self, part: &Part, expected: &str) -> WireError {
        let found: String = self.text(part).chars().take(60).collect();
        WireError::NotRpc {
            offset: self.frame.offset,
            reason: format!("at byte {} of it: expected {expected}, found {found}", part.0.start),
        }
    }

    /// An error of parsing a part, told with its place in the stream.
    pub fn wrong(&self, part: &Part, error: &serde_json::Error) -> WireError {
        let place = if error.line() == 1 { error.column().saturating_sub(1) } else { 0 };
        WireError::NotRpc {
            offset: self.frame.offset,
            reason: format!("near byte {} of it: {error}", part.0.start + place),
        }
    }

    /// The number of bytes of the message.
    pub fn len(&self) -> usize {
        self.frame.bytes.len()
    }

    /// True for a message of no bytes, which no stream yields.
    pub fn is_empty(&self) -> bool {
        self.frame.bytes.is_empty()
    }
}

/// The text of a request.
pub fn request(method: &str, params: &Value, id: u64) -> Vec<u8> {
    json!({ "method": method, "params": params, "id": id }).to_string().into_bytes()
}

/// The text of the answer to a request that cannot fail.
pub fn reply(result: &Value, id: &Value) -> Vec<u8> {
    json!({ "result": result, "error": null, "id": id }).to_string().into_bytes()
}

/// The text of the answer to a request that is not understood.
pub fn refusal(id: &Value) -> Vec<u8> {
    json!({ "result": null, "error": "unknown method", "id": id }).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames(framer: &mut Framer, bytes: &[u8]) -> Result<Vec<Vec<u8>>, WireError> {
        framer.buffer().extend_from_slice(bytes);
        let mut out = Vec::new();
        while let Some(frame) = framer.next_frame()? {
            out.push(frame.bytes);
        }
        Ok(out)
    }

    fn json_object() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            Just(Value::from("\\\"}{][")),
        ];
        let tree = leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::hash_map(".{0,4}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        });
        prop::collection::hash_map(".{0,4}", tree, 0..5)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn messages_come_out_whole_however_the_stream_is_cut(
            objects in prop::collection::vec(json_object(), 1..6),
            cut in 1usize..40,
        ) {
            let stream: Vec<u8> =
                objects.iter().flat_map(|o| format!("{o}\n ").into_bytes()).collect();
            let mut framer = Framer::new(DEFAULT_LIMIT);
            let mut found = Vec::new();
            for chunk in stream.chunks(cut) {
                for bytes in frames(&mut framer, chunk)? {
                    found.push(serde_json::from_slice::<Value>(&bytes)?);
                }
            }
            prop_assert_eq!(found, objects);
        }

        #[test]
        fn no_bytes_make_the_framer_or_the_message_parser_panic(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                "[{}\\[\\]\",:\\\\a0 ]{0,80}".prop_map(String::into_bytes),
                "\\{(\"(method|params|id|error|result)\":(null|1|\"a\"|\\[\\]),?){0,5}\\}"
                    .prop_map(String::into_bytes),
            ],
        ) {
            let mut framer = Framer::new(64);
            framer.buffer().extend_from_slice(&bytes);
            while let Ok(Some(frame)) = framer.next_frame() {
                if let Err(error) = Message::parse(frame) {
                    prop_assert!(error.to_string().contains("at byte"), "{error}");
                }
            }
        }
    }

    #[test]
    fn a_message_over_the_limit_is_refused_with_its_place() {
        for bytes in [&b"{}{\"a\":\"0123456789\"}"[..], b"{}{\"a\":\"0123456789"] {
            let error = frames(&mut Framer::new(8), bytes).expect_err("too long");
            assert_eq!(
                error.to_string(),
                "at byte 2 of the stream: a message longer than the limit of 8 bytes"
            );
        }
    }

    #[test]
    fn what_is_no_object_is_refused_with_its_place() {
        let error = frames(&mut Framer::new(8), b"{} HTTP").expect_err("not JSON");
        assert_eq!(error.to_string(), "at byte 3 of the stream: expected a JSON object, found 'H'");
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_crash() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        for member in ["result", "error", "id"] {
            let text = format!("{{\"{member}\":{deep},\"method\":null}}");
            let frame = Frame { bytes: text.into_bytes(), offset: 0 };
            let read = Message::parse(frame).and_then(|message| match &message.kind {
                Kind::Reply { outcome: Ok(part), .. } => message.read::<Value>(part),
                _ => Ok(Value::Null),
            });
            assert!(read.is_err(), "{member}");
        }
    }

    #[test]
    fn an_error_inside_a_message_is_told_with_its_place() {
        let frame = Frame { bytes: br#"{"id":1,"result":[true, 7]}"#.to_vec(), offset: 100 };
        let message = Message::parse(frame).expect("a reply");
        let Kind::Reply { outcome: Ok(part), .. } = &message.kind else {
            panic!("expected a result, found {:?}", message.kind)
        };
        let error = serde_json::from_str::<(bool, bool)>(message.text(part)).expect_err("7");
        let told = message.wrong(part, &error).to_string();
        assert!(
            told.starts_with("in the message at byte 100 of the stream: near byte 2"),
            "{told}"
        );
    }
}
