//! Recorded conversations: how they are read, and what of a frame is compared.
//!
//! A byte is left out of a comparison for three reasons only: the recording marks its field `stale`, or
//! `volatile` and it is not an input that the test took from the recording, or it lies outside every field
//! and is shown here to be left over from the frame before.

use std::io::Write;
use std::path::PathBuf;

use ringperf_proto::FRAME_BYTES;
use serde_json::Value;

/// A client or a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    FromClient,
    FromServer,
}

/// One recorded conversation.
#[derive(Clone, Debug)]
pub(crate) struct Golden {
    pub(crate) name: String,
    pub(crate) client: String,
    pub(crate) server: String,
    pub(crate) command: String,
    pub(crate) frame_bytes: u64,
    pub(crate) messages: Vec<Message>,
}

/// One thing that was seen on the connection.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) seq: u64,
    pub(crate) direction: Direction,
    pub(crate) kind: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) fields: Vec<Field>,
    /// The errno of a response, as the recording decoded it.
    pub(crate) errno: i32,
    /// The recording says that it was left over.
    pub(crate) stale_errno: bool,
}

/// One field of a recorded frame.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) offset: usize,
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) stale: bool,
    pub(crate) volatile: bool,
    pub(crate) meaningful_bits: u32,
}

impl Message {
    pub(crate) fn is_frame(&self) -> bool {
        self.kind == "message"
    }

    pub(crate) fn is_end(&self) -> bool {
        self.kind == "end_of_stream" || self.kind == "reset"
    }

    /// The bytes of a field that is there and was written for this message.
    pub(crate) fn field_if_told(&self, name: &str) -> Option<&[u8]> {
        let field = self.fields.iter().find(|field| field.name == name && !field.stale)?;
        Some(&field.bytes)
    }

    /// The bytes of a field as the recording decoded them, not as they stand in the frame: changing the
    /// frame does not change what a test takes from here.
    pub(crate) fn field(&self, name: &str) -> &[u8] {
        &self
            .fields
            .iter()
            .find(|field| field.name == name)
            .unwrap_or_else(|| panic!("no field {name}"))
            .bytes
    }

    pub(crate) fn word(&self, name: &str) -> u32 {
        u32::from_be_bytes(self.field(name).try_into().expect("a word"))
    }

    /// The word at a byte offset of the frame as it stands there.
    pub(crate) fn word_at(&self, offset: usize) -> Option<u32> {
        let bytes = self.bytes.get(offset..offset + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().expect("a word")))
    }

    pub(crate) fn signed(&self, name: &str) -> i32 {
        self.word(name).cast_signed()
    }

    pub(crate) fn float(&self, name: &str) -> f32 {
        f32::from_bits(self.word(name))
    }

    pub(crate) fn text(&self, name: &str) -> String {
        let bytes = self.field(name).split(|byte| *byte == 0).next().expect("a part");
        String::from_utf8(bytes.to_vec()).expect("ASCII")
    }

    /// Which bits are compared. `inputs` are volatile fields whose values the test took from the recording,
    /// so that they have to come out again.
    fn mask(&self, inputs: &[&str]) -> [u8; FRAME_BYTES] {
        let mut mask = [0xff; FRAME_BYTES];
        if self.stale_errno {
            mask[4..8].fill(0);
        }
        for field in &self.fields {
            let masked = &mut mask[field.offset..field.offset + field.bytes.len()];
            if field.stale || (field.volatile && !inputs.contains(&field.name.as_str())) {
                masked.fill(0);
            } else if field.meaningful_bits != u32::MAX {
                masked.copy_from_slice(&field.meaningful_bits.to_be_bytes());
            }
        }
        mask
    }

    /// Compares a frame of ours with this one. `before` is the frame recorded before it in the same
    /// direction.
    pub(crate) fn compare(
        &self,
        ours: &[u8; FRAME_BYTES],
        before: Option<&Self>,
        inputs: &[&str],
    ) -> Result<(), String> {
        let mask = self.mask(inputs);
        let mut described = [false; FRAME_BYTES];
        for field in &self.fields {
            described[field.offset..field.offset + field.bytes.len()].fill(true);
        }
        for (at, mask) in mask.iter().enumerate() {
            let same = (self.bytes[at] ^ ours[at]) & mask == 0;
            let left_over = at >= 8
                && !described[at]
                && ours[at] == 0
                && before.is_some_and(|before| self.is_left_over(before, at));
            if !same && !left_over {
                return Err(format!(
                    "frame {}, byte {at}: {:02x} != {:02x}",
                    self.seq, ours[at], self.bytes[at]
                ));
            }
        }
        Ok(())
    }

    /// Whether the word around byte `at` is that of the frame before, as it was or with its bytes swapped.
    fn is_left_over(&self, before: &Self, at: usize) -> bool {
        let word = at / 4 * 4..at / 4 * 4 + 4;
        let (now, then) = (&self.bytes[word.clone()], &before.bytes[word]);
        now == then || now.iter().eq(then.iter().rev())
    }
}

/// All recorded conversations, by name.
pub(crate) fn load() -> Vec<Golden> {
    let mut goldens: Vec<Golden> = std::fs::read_dir(folder())
        .expect("the folder of recordings")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "json") && !path.ends_with("layouts.json"))
        .map(|path| golden(&read(&path)))
        .collect();
    goldens.sort_by(|a, b| a.name.cmp(&b.name));
    let example = goldens.iter().find(|golden| golden.name == "tcp_stream_default").expect("it").clone();
    for golden in &mut goldens {
        describe_request_in_pieces(golden, &example);
    }
    goldens
}

/// netperf's layout tables.
pub(crate) fn layouts() -> Value {
    read(&folder().join("layouts.json"))
}

/// Prints past the test harness, which would keep the line to itself when the test passes.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

fn read(path: &std::path::Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The recorder decodes no answer to a request that came in pieces. They are the same two frames as in any
/// stream.
fn describe_request_in_pieces(golden: &mut Golden, example: &Golden) {
    if golden.name != "request_in_pieces" {
        return;
    }
    let described = example.messages.iter().filter(|message| message.direction == Direction::FromServer);
    let bare = golden.messages.iter_mut().filter(|message| message.direction == Direction::FromServer);
    for (bare, described) in bare.zip(described).filter(|(bare, _)| bare.is_frame()) {
        bare.fields.clone_from(&described.fields);
        for field in &mut bare.fields {
            let end = field.offset + field.bytes.len();
            field.bytes = bare.bytes[field.offset..end].to_vec();
        }
    }
}

fn golden(value: &Value) -> Golden {
    Golden {
        name: text(&value["case"]),
        client: text(&value["client"]),
        server: text(&value["server"]),
        command: text(&value["client_command"]),
        frame_bytes: value["frame_bytes"].as_u64().expect("a number"),
        messages: value["messages"].as_array().expect("messages").iter().map(message).collect(),
    }
}

fn message(value: &Value) -> Message {
    let decoded = &value["decoded"];
    Message {
        seq: value["seq"].as_u64().expect("a number"),
        direction: match value["dir"].as_str() {
            Some("c2s") => Direction::FromClient,
            Some("s2c") => Direction::FromServer,
            other => panic!("direction {other:?}"),
        },
        kind: text(&value["kind"]),
        bytes: value["hex"].as_str().map(hex).unwrap_or_default(),
        fields: decoded["fields"].as_array().map(|all| all.iter().map(field).collect()).unwrap_or_default(),
        errno: decoded["serv_errno"].as_i64().map_or(0, |errno| errno.try_into().expect("a word")),
        stale_errno: decoded["note"].as_str().is_some_and(|note| note.starts_with("stale errno")),
    }
}

fn field(value: &Value) -> Field {
    let bits = value["meaningful_bits"].as_str().map(|bits| {
        u32::from_str_radix(bits.strip_prefix("0x").expect("a prefix"), 16).expect("a mask in hexadecimal")
    });
    Field {
        offset: usize::try_from(value["offset"].as_u64().expect("a number")).expect("an offset"),
        name: text(&value["name"]),
        bytes: hex(value["hex"].as_str().expect("hexadecimal")),
        stale: value["stale"] == true,
        volatile: value["volatile"] == true,
        meaningful_bits: bits.unwrap_or(u32::MAX),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn hex(digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2) && digits.is_ascii(), "not hexadecimal: {digits}");
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}
