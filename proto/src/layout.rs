//! How a message lies in a frame: one declaration per message, from which its struct, its decoder, its
//! encoder and its field table are made.
//!
//! A layout knows places and encodings and nothing else: decoding cannot fail, and whether a value makes
//! sense is decided by [`crate::TestSpec`] and the machines. All words are in network order; texts are raw
//! bytes. No layout overlaps itself or leaves its frame, or the crate does not compile.

use alloc::string::String;

use crate::frame::Frame;

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Byte offset from the start of the frame, the header of 8 bytes included.
    pub offset: usize,
    /// Its name in netperf's layout tables.
    pub name: &'static str,
    /// Its encoding: `i32`, `u32`, `f32`, `f64`, `ip4w` (an address of four words), `strN` (N raw bytes);
    /// only in our own messages also `u64` (two words, the high one first) and `bytes` (raw ones that are no
    /// text).
    pub encoding: &'static str,
    /// Its length in bytes.
    pub bytes: usize,
}

/// Four address words, each as the number its four bytes on the wire make in network order.
/// [`crate::address`] converts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressWords(pub [u32; 4]);

/// A text field of `N` raw bytes: padded with NUL, and normally but not always ended by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<const N: usize>(pub [u8; N]);

impl<const N: usize> Text<N> {
    /// The field that holds `text`; `None` if it does not fit with a NUL behind it.
    pub fn new(text: &[u8]) -> Option<Self> {
        (text.len() < N).then(|| {
            let mut bytes = [0; N];
            for (to, from) in bytes.iter_mut().zip(text) {
                *to = *from;
            }
            Self(bytes)
        })
    }

    /// The bytes before the first NUL, or all of them. What stands behind it is left over from other
    /// messages.
    pub fn content(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or(&[])
    }

    /// The content, if there is any and all of it is printable ASCII without spaces: `Ok(None)` if the
    /// field is empty, `Err` with the content if it holds anything else.
    pub fn name(&self) -> Result<Option<String>, &[u8]> {
        let content = self.content();
        if !content.iter().all(u8::is_ascii_graphic) {
            return Err(content);
        }
        Ok((!content.is_empty()).then(|| content.iter().copied().map(char::from).collect()))
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

/// A type that can stand in a message.
pub trait Wire: Sized {
    /// The name of its encoding, as in [`Field::encoding`].
    const ENCODING: &'static str;
    /// Its length on the wire.
    const BYTES: usize;
    /// Reads it from `OFFSET` on.
    fn read<const OFFSET: usize>(frame: &Frame) -> Self;
    /// Writes it from `OFFSET` on.
    fn write<const OFFSET: usize>(&self, frame: &mut Frame);
}

macro_rules! number {
    ($($kind:ident $bytes:literal),*) => {$(
        impl Wire for $kind {
            const ENCODING: &'static str = stringify!($kind);
            const BYTES: usize = $bytes;

            fn read<const OFFSET: usize>(frame: &Frame) -> Self {
                Self::from_be_bytes(frame.take::<OFFSET, $bytes>())
            }

            fn write<const OFFSET: usize>(&self, frame: &mut Frame) {
                frame.put::<OFFSET, $bytes>(self.to_be_bytes());
            }
        }
    )*};
}

number!(i32 4, u32 4, u64 8, f32 4, f64 8);

/// A count that may not be known: all ones where it is not.
impl Wire for Option<u64> {
    const ENCODING: &'static str = <u64 as Wire>::ENCODING;
    const BYTES: usize = <u64 as Wire>::BYTES;

    fn read<const OFFSET: usize>(frame: &Frame) -> Self {
        Some(u64::read::<OFFSET>(frame)).filter(|count| *count != u64::MAX)
    }

    fn write<const OFFSET: usize>(&self, frame: &mut Frame) {
        self.unwrap_or(u64::MAX).write::<OFFSET>(frame);
    }
}

impl Wire for AddressWords {
    const ENCODING: &'static str = "ip4w";
    const BYTES: usize = 16;

    fn read<const OFFSET: usize>(frame: &Frame) -> Self {
        let mut words = [0; 4];
        let bytes = frame.take::<OFFSET, 16>();
        for (word, four) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u32::from_be_bytes(*four);
        }
        Self(words)
    }

    fn write<const OFFSET: usize>(&self, frame: &mut Frame) {
        let mut bytes = [0; 16];
        for (four, word) in bytes.as_chunks_mut().0.iter_mut().zip(self.0) {
            *four = word.to_be_bytes();
        }
        frame.put::<OFFSET, 16>(bytes);
    }
}

impl<const N: usize> Wire for Text<N> {
    const ENCODING: &'static str = match N {
        16 => "str16",
        32 => "str32",
        33 => "str33",
        80 => "str80",
        _ => "str",
    };
    const BYTES: usize = N;

    fn read<const OFFSET: usize>(frame: &Frame) -> Self {
        Self(frame.take::<OFFSET, N>())
    }

    fn write<const OFFSET: usize>(&self, frame: &mut Frame) {
        frame.put::<OFFSET, N>(self.0);
    }
}

/// Bytes that are no text: every one of them counts.
impl<const N: usize> Wire for [u8; N] {
    const ENCODING: &'static str = "bytes";
    const BYTES: usize = N;

    fn read<const OFFSET: usize>(frame: &Frame) -> Self {
        frame.take::<OFFSET, N>()
    }

    fn write<const OFFSET: usize>(&self, frame: &mut Frame) {
        frame.put::<OFFSET, N>(*self);
    }
}

/// Whether fields stand in order and none reaches into the next.
pub(crate) const fn in_order(fields: &[Field]) -> bool {
    let mut rest = fields;
    while let [first, tail @ ..] = rest {
        if let [second, ..] = tail
            && first.offset.saturating_add(first.bytes) > second.offset
        {
            return false;
        }
        rest = tail;
    }
    true
}

/// Declares messages: a struct each, with its decoder, encoder and field table.
macro_rules! layout {
    ($(
        $(#[$about:meta])*
        $message:ident = $table:literal {
            $( $(#[$doc:meta])* $field:ident: $kind:ty = $offset:literal, )+
        }
    )+) => {$(
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $message {
            $( $(#[$doc])* pub $field: $kind, )+
        }

        impl $message {
            /// The name of this layout in netperf's layout tables.
            pub const NAME: &'static str = $table;

            /// Every field, in the order of the wire.
            pub const FIELDS: &'static [$crate::layout::Field] = &[$(
                $crate::layout::Field {
                    offset: $offset,
                    name: stringify!($field),
                    encoding: <$kind as $crate::layout::Wire>::ENCODING,
                    bytes: <$kind as $crate::layout::Wire>::BYTES,
                },
            )+];

            /// Reads the message; any frame makes one.
            pub fn decode(frame: &$crate::Frame) -> Self {
                const { assert!($crate::layout::in_order(Self::FIELDS), "fields overlap") };
                Self { $( $field: <$kind as $crate::layout::Wire>::read::<$offset>(frame), )+ }
            }

            /// Writes the message behind the header of `frame`; what no field covers stays as it is.
            pub fn encode(&self, frame: &mut $crate::Frame) {
                $( $crate::layout::Wire::write::<$offset>(&self.$field, frame); )+
            }
        }
    )+};
}

pub(crate) use layout;
