//! Writing Avro: the primitive encodings, an object container with one record in it, and a macro that declares a record's fields once, for
//! its schema and for its values. Knows no survey.

use serde_json::{Value, json};

/// Appends Avro's binary encodings to a buffer. One method for each field type that the surveys' schemas use; `opt_` is a union with null.
#[derive(Debug, Clone, Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn long(&mut self, value: i64) {
        let mut rest = ((value << 1) ^ (value >> 63)) as u64;
        while rest >= 0x80 {
            self.bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.bytes.push(rest as u8);
    }

    pub(super) fn int(&mut self, value: i32) {
        self.long(i64::from(value));
    }

    pub(super) fn float(&mut self, value: f32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn double(&mut self, value: f64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn string(&mut self, value: &str) {
        self.blob(value.as_bytes());
    }

    pub(super) fn blob(&mut self, value: &[u8]) {
        self.long(value.len() as i64);
        self.bytes.extend_from_slice(value);
    }

    pub(super) fn null(&mut self) {
        self.bytes.push(0);
    }

    /// Branch 1 of a union with null.
    pub(super) fn some(&mut self) {
        self.bytes.push(2);
    }

    pub(super) fn opt_long(&mut self, value: impl Into<Option<i64>>) {
        self.option(value.into(), Self::long);
    }

    pub(super) fn opt_int(&mut self, value: impl Into<Option<i32>>) {
        self.option(value.into(), Self::int);
    }

    pub(super) fn opt_float(&mut self, value: impl Into<Option<f32>>) {
        self.option(value.into(), Self::float);
    }

    pub(super) fn opt_double(&mut self, value: impl Into<Option<f64>>) {
        self.option(value.into(), Self::double);
    }

    pub(super) fn opt_string<'a>(&mut self, value: impl Into<Option<&'a str>>) {
        self.option(value.into(), Self::string);
    }

    pub(super) fn opt_boolean(&mut self, value: impl Into<Option<bool>>) {
        self.option(value.into(), |writer, value| writer.bytes.push(u8::from(value)));
    }

    /// Microseconds since 1970.
    pub(super) fn opt_timestamp(&mut self, value: impl Into<Option<i64>>) {
        self.option(value.into(), Self::long);
    }

    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            None => self.null(),
            Some(value) => {
                self.some();
                write(self, value);
            }
        }
    }
}

/// A field of a schema; the type is the name of the [`Writer`] method that writes it.
pub(super) fn field(name: &str, kind: &str) -> Value {
    match kind {
        "opt_timestamp" => {
            json!({"name": name, "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": null})
        }
        _ => match kind.strip_prefix("opt_") {
            Some(kind) => json!({"name": name, "type": ["null", kind], "default": null}),
            None => json!({"name": name, "type": kind}),
        },
    }
}

/// Declares the fields of a record: `fn schema() -> Vec<Value>` and `fn write(&mut Writer, &Input)` in one module of the given name, in one
/// order. The module that uses it imports `field` and [`Writer`].
macro_rules! record {
    ($(#[$doc:meta])* $name:ident($value:ident: &$input:ty) { $($field:ident: $kind:ident = $expression:expr;)* }) => {
        $(#[$doc])*
        pub(super) mod $name {
            use super::*;

            /// The fields of the schema.
            pub(in super::super) fn fields() -> Vec<serde_json::Value> {
                vec![$(field(stringify!($field), stringify!($kind))),*]
            }

            /// Writes the values of the fields.
            pub(in super::super) fn write(writer: &mut Writer, $value: &$input) {
                $(writer.$kind($expression);)*
            }
        }
    };
}
pub(super) use record;

/// Everything of an object container before the data: magic, schema, codec, sync mark.
#[derive(Debug, Clone)]
pub(super) struct Container {
    header: Vec<u8>,
}

/// The mark between blocks. Any 16 bytes do; one that is always the same keeps the files reproducible.
const SYNC: [u8; 16] = *b"BOOM-simulation\n";

impl Container {
    pub(super) fn new(schema: &Value) -> Self {
        let mut writer = Writer { bytes: b"Obj\x01".to_vec() };
        writer.long(2);
        writer.string("avro.schema");
        writer.string(&schema.to_string());
        writer.string("avro.codec");
        writer.string("null");
        writer.long(0);
        writer.bytes.extend_from_slice(&SYNC);
        Self { header: writer.bytes }
    }

    /// The container with one record, and where in it the record begins.
    pub(super) fn wrap(&self, record: &[u8]) -> (Vec<u8>, usize) {
        let mut writer = Writer { bytes: Vec::with_capacity(self.header.len() + record.len() + 64) };
        writer.bytes.extend_from_slice(&self.header);
        writer.long(1);
        writer.long(record.len() as i64);
        let start = writer.bytes.len();
        writer.bytes.extend_from_slice(record);
        writer.bytes.extend_from_slice(&SYNC);
        (writer.bytes, start)
    }
}
