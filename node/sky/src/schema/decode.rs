//! Running a plan over a datum: one pass, straight into BSON and light-curve points, no value tree in between.

use super::DecodeError;
use super::compile::{CUTOUTS, Convert, Field, Node, OBJECT_IDS, Plan, Role, SLOTS, Slot};
use super::key::Key;
use super::reader::Reader;
use crate::alert::{Alert, Cutouts};
use crate::document::{Writer, tag};
use crate::lightcurve::{Series, merge::normalise};

/// A value that decoding looks at itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Captured<'a> {
    #[default]
    None,
    Integer(i64),
    Real(f64),
    Truth(bool),
    Text(&'a str),
    Bytes(&'a [u8]),
}

/// The captured values of one record.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slots<'a>([Captured<'a>; SLOTS]);

impl<'a> Slots<'a> {
    #[inline]
    fn get(&self, slot: Slot) -> Captured<'a> {
        self.0[slot as usize]
    }

    #[inline]
    fn set(&mut self, slot: Option<Slot>, value: Captured<'a>) {
        // A null never replaces a value: the same slot may be wanted at two places.
        if let (Some(slot), false) = (slot, matches!(value, Captured::None)) {
            self.0[slot as usize] = value;
        }
    }

    #[inline]
    pub(super) fn is_none(&self, slot: Slot) -> bool {
        matches!(self.get(slot), Captured::None)
    }

    /// The number, NaN where there is none.
    #[inline]
    pub(super) fn real(&self, slot: Slot) -> f64 {
        match self.get(slot) {
            Captured::Real(value) => value,
            Captured::Integer(value) => value as f64,
            _ => f64::NAN,
        }
    }

    #[inline]
    pub(super) fn integer(&self, slot: Slot) -> Option<i64> {
        match self.get(slot) {
            Captured::Integer(value) => Some(value),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn text(&self, slot: Slot) -> Option<&'a str> {
        match self.get(slot) {
            Captured::Text(value) => Some(value),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn truth(&self, slot: Slot) -> Option<bool> {
        truth(self.get(slot))
    }
}

/// A boolean in any of the clothes that surveys give it.
fn truth(value: Captured<'_>) -> Option<bool> {
    match value {
        Captured::Truth(value) => Some(value),
        Captured::Integer(value) => Some(value > 0),
        Captured::Text("t" | "1" | "true" | "T") => Some(true),
        Captured::Text("f" | "0" | "false" | "F" | "-1") => Some(false),
        _ => None,
    }
}

/// The name of an element that is about to be written.
#[derive(Clone, Copy)]
enum Name<'n> {
    Field(&'n Key),
    Entry(&'n str),
    Index(usize),
}

/// Where one reads, where one writes, and what is captured on the way.
struct Io<'a, 'o> {
    reader: Reader<'a>,
    slots: &'o mut Slots<'a>,
    out: &'o mut Vec<u8>,
}

impl Io<'_, '_> {
    /// Writes an element's type and name.
    #[inline]
    fn name(&mut self, tag: u8, name: Name<'_>) {
        match name {
            Name::Field(key) => key.write(tag, self.out),
            Name::Entry(key) => Writer::new(self.out).key(tag, key),
            Name::Index(index) => Writer::new(self.out).index(tag, index),
        }
    }

    #[inline]
    fn element<const N: usize>(&mut self, tag: u8, name: Name<'_>, value: [u8; N]) {
        self.name(tag, name);
        self.out.extend_from_slice(&value);
    }
}

impl Plan {
    /// Decodes the datum at the start of `datum`; gives the alert and how many bytes it took.
    ///
    /// # Errors
    /// The bytes do not fit the schema, or a required value is missing or impossible.
    pub fn decode(&self, datum: &[u8]) -> Result<(Alert, usize), DecodeError> {
        let survey = self.survey;
        let (mut candidate, mut point, mut other) = (begun(4096), begun(2048), Vec::with_capacity(512));
        let mut series = vec![Series::default(); survey.series.len()];
        let mut slots = Slots::default();
        let mut io = Io { reader: Reader::new(datum), slots: &mut slots, out: &mut other };
        for field in &self.fields {
            match field.role {
                Role::Keep => field.emit(&mut io)?,
                Role::Skip => {
                    let value = field.node.skip(&mut io.reader, io.slots)?;
                    io.slots.set(field.slot, value);
                }
                Role::Detection => {
                    let mut inner = Io { reader: io.reader, slots: io.slots, out: &mut candidate };
                    detection(&field.node, &mut inner, &mut point)?;
                    io.reader = inner.reader;
                }
                Role::History(index) => self.history(&field.node, index, &mut io.reader, &mut series)?,
            }
        }
        let length = io.reader.position();
        let alert = self.finish(&slots, Parts { candidate, point, other, series })?;
        Ok((alert, length))
    }

    fn history<'a>(
        &self,
        node: &Node,
        index: usize,
        reader: &mut Reader<'a>,
        series: &mut [Series],
    ) -> Result<(), DecodeError> {
        let survey = self.survey;
        let history = &survey.history[index];
        let item = match node.resolve(reader)? {
            Node::Null => return Ok(()),
            Node::Array(item) => item,
            _ => return Err(DecodeError::Schema(format!("{} is not an array", history.at))),
        };
        let Node::Record(fields) = &**item else {
            return Err(DecodeError::Schema(format!("{} is not an array of records", history.at)));
        };
        let mut document = begun(2048);
        loop {
            let count = reader.block()?;
            if count == 0 {
                return Ok(());
            }
            for _ in 0..count {
                document.truncate(4);
                let mut slots = Slots::default();
                let mut io = Io { reader: *reader, slots: &mut slots, out: &mut document };
                for field in fields {
                    field.emit(&mut io)?;
                }
                *reader = io.reader;
                let mut measured = self.histories[index].measure(&slots, history.at)?;
                measured.head.program = program(&slots);
                self.histories[index].write(&measured, &mut document);
                end(&mut document);
                let undetected = history.otherwise.filter(|_| slots.is_none(Slot::Psf));
                let series = &mut series[undetected.map_or(history.series, |otherwise| otherwise.1)];
                series.push(&measured.head, &document);
            }
        }
    }

    fn finish(&self, slots: &Slots<'_>, parts: Parts) -> Result<Alert, DecodeError> {
        let survey = self.survey;
        let at = survey.detection.at;
        let Parts { mut candidate, mut point, other, mut series } = parts;
        let missing = |path: &str| DecodeError::MissingField(path.to_owned());
        let candid = slots.integer(Slot::AlertId).ok_or_else(|| missing(survey.alert_id))?;
        let object_id = self.object_id(slots)?;
        let mut measured = self.detection.measure(slots, at)?;
        if let Some(field) = survey.access {
            slots.integer(Slot::Access).ok_or_else(|| missing(&format!("{at}.{field}")))?;
        }
        let jd = measured.head.jd;
        measured.head.program = program(slots);
        measured.head.stamp = jd;
        self.detection.write(&measured, &mut point);
        end(&mut point);
        let mut first = jd;
        let detections = series[0].iter().inspect(|point| first = first.min(point.head.jd)).count() + 1;
        series[0].push(&measured.head, &point);
        series.iter_mut().for_each(|series| series.stamp(jd, measured.head.program));
        let series = series.into_iter().map(normalise).collect();

        self.detection.write(&measured, &mut candidate);
        self.detection.write_fit(slots, &mut candidate);
        let mut writer = Writer::new(&mut candidate);
        if survey.detection.first.is_some() {
            let named = self.detection.julian(slots.real(Slot::First));
            writer.double("jdstarthist", if named.is_finite() { named } else { first });
        }
        if survey.detection.count.is_some() {
            let named = slots.integer(Slot::Count).and_then(|count| i32::try_from(count).ok());
            writer.int32("ndethist", named.unwrap_or(detections as i32));
        }
        end(&mut candidate);

        let [science, template, difference] = CUTOUTS.map(|slot| match slots.get(slot) {
            Captured::Bytes(bytes) => bytes.to_vec(),
            _ => Vec::new(),
        });
        let cutouts = Cutouts { science, template, difference };
        let head = measured.head;
        Ok(Alert { survey, candid, object_id, head, candidate, other, series, cutouts })
    }

    fn object_id(&self, slots: &Slots<'_>) -> Result<String, DecodeError> {
        let survey = self.survey;
        for (id, slot) in survey.object_id.iter().zip(OBJECT_IDS) {
            match slots.get(slot) {
                Captured::Text(text) if !text.is_empty() => return Ok(format!("{}{text}", id.prefix)),
                Captured::Integer(number) if number != 0 => return Ok(format!("{}{number}", id.prefix)),
                _ => {}
            }
        }
        let all: Vec<&str> = survey.object_id.iter().map(|id| id.at).collect();
        Err(DecodeError::MissingField(all.join("` or `")))
    }
}

struct Parts {
    candidate: Vec<u8>,
    point: Vec<u8>,
    other: Vec<u8>,
    series: Vec<Series>,
}

fn program(slots: &Slots<'_>) -> u8 {
    slots.integer(Slot::Access).and_then(|program| u8::try_from(program).ok()).unwrap_or(0)
}

/// The detection's fields go into the candidate, and those that a light-curve point has into the point as well.
fn detection(node: &Node, io: &mut Io<'_, '_>, point: &mut Vec<u8>) -> Result<(), DecodeError> {
    let fields = match node.resolve(&mut io.reader)? {
        Node::Record(fields) => fields,
        Node::Null => return Ok(()),
        _ => return Err(DecodeError::Schema("the detection is not a record".into())),
    };
    for field in fields {
        let before = io.out.len();
        field.emit(io)?;
        if field.in_point {
            point.extend_from_slice(&io.out[before..]);
        }
    }
    Ok(())
}

/// A document whose elements are to follow.
fn begun(capacity: usize) -> Vec<u8> {
    let mut document = Vec::with_capacity(capacity);
    document.extend_from_slice(&[0; 4]);
    document
}

/// Ends a document whose length stands at its start.
fn end(document: &mut Vec<u8>) {
    document.push(0);
    let length = u32::try_from(document.len()).expect("a packet is far smaller than 4 GiB");
    document[..4].copy_from_slice(&length.to_le_bytes());
}

impl Field {
    fn emit(&self, io: &mut Io<'_, '_>) -> Result<(), DecodeError> {
        let node = self.node.resolve(&mut io.reader)?;
        let value = match self.convert {
            Convert::No => node.emit(Name::Field(&self.key), io)?,
            Convert::Boolean => {
                let value = node.skip(&mut io.reader, io.slots)?;
                if let Some(value) = truth(value) {
                    self.key.element(tag::BOOLEAN, [u8::from(value)], io.out);
                }
                value
            }
            Convert::NoneStrings(none) => {
                let value = node.skip(&mut io.reader, io.slots)?;
                if let Captured::Text(text) = value
                    && !none.contains(&text)
                {
                    self.key.write(tag::STRING, io.out);
                    Writer::new(io.out).string_body(text);
                }
                value
            }
        };
        io.slots.set(self.slot, value);
        Ok(())
    }
}

impl Node {
    /// The node of the value that follows: that variant, where it is a union.
    #[inline]
    fn resolve(&self, reader: &mut Reader<'_>) -> Result<&Self, DecodeError> {
        let mut node = self;
        while let Self::Union(variants) = node {
            let index = reader.long()?;
            let chosen = usize::try_from(index).ok().and_then(|index| variants.get(index));
            node = chosen
                .ok_or_else(|| DecodeError::Corrupt(format!("variant {index} of a union of {}", variants.len())))?;
        }
        Ok(node)
    }

    /// Reads a value, writes it as an element unless it is null or not finite, and gives it where it is a scalar.
    #[inline]
    fn emit<'a>(&self, name: Name<'_>, io: &mut Io<'a, '_>) -> Result<Captured<'a>, DecodeError> {
        match self {
            Self::Null => Ok(Captured::None),
            Self::Float | Self::Double => {
                let double = matches!(self, Self::Double);
                let value = if double { io.reader.double()? } else { io.reader.float()?.into() };
                if value.is_finite() {
                    io.element(tag::DOUBLE, name, value.to_le_bytes());
                }
                Ok(Captured::Real(value))
            }
            other => other.emit_other(name, io),
        }
    }

    /// What is neither null nor a real number.
    fn emit_other<'a>(&self, name: Name<'_>, io: &mut Io<'a, '_>) -> Result<Captured<'a>, DecodeError> {
        match self {
            Self::Union(_) => return self.resolve(&mut io.reader)?.emit_other(name, io),
            Self::Record(fields) => {
                let start = open(tag::DOCUMENT, name, io);
                for field in fields {
                    field.emit(io)?;
                }
                close(start, io);
            }
            Self::Array(item) => {
                let start = open(tag::ARRAY, name, io);
                let mut index = 0;
                loop {
                    let count = io.reader.block()?;
                    if count == 0 {
                        break;
                    }
                    for _ in 0..count {
                        item.emit(Name::Index(index), io)?;
                        index += 1;
                    }
                }
                close(start, io);
            }
            Self::Map(item) => {
                let start = open(tag::DOCUMENT, name, io);
                loop {
                    let count = io.reader.block()?;
                    if count == 0 {
                        break;
                    }
                    for _ in 0..count {
                        let key = io.reader.string()?;
                        if key.contains('\0') {
                            return Err(DecodeError::Corrupt("a map key holds a NUL".into()));
                        }
                        item.emit(Name::Entry(key), io)?;
                    }
                }
                close(start, io);
            }
            scalar => {
                let value = scalar.scalar(&mut io.reader)?;
                scalar.write(value, name, io);
                return Ok(value);
            }
        }
        Ok(Captured::None)
    }

    fn write(&self, value: Captured<'_>, name: Name<'_>, io: &mut Io<'_, '_>) {
        match (self, value) {
            (Self::Timestamp(ticks), Captured::Integer(value)) => {
                io.element(tag::DATETIME, name, value.div_euclid(*ticks).to_le_bytes());
            }
            (Self::Enum(symbols), Captured::Integer(value)) => {
                let symbol = usize::try_from(value).ok().and_then(|index| symbols.get(index));
                io.name(tag::STRING, name);
                Writer::new(io.out).string_body(symbol.expect("reading has checked the index"));
            }
            (_, Captured::Truth(value)) => io.element(tag::BOOLEAN, name, [u8::from(value)]),
            (_, Captured::Bytes(value)) => {
                io.element(tag::BINARY, name, (value.len() as i32).to_le_bytes());
                io.out.push(0);
                io.out.extend_from_slice(value);
            }
            (Self::Int, Captured::Integer(value)) => io.element(tag::INT32, name, (value as i32).to_le_bytes()),
            (_, Captured::Integer(value)) => io.element(tag::INT64, name, value.to_le_bytes()),
            (_, Captured::Real(value)) if value.is_finite() => io.element(tag::DOUBLE, name, value.to_le_bytes()),
            (_, Captured::Text(value)) => {
                io.name(tag::STRING, name);
                Writer::new(io.out).string_body(value);
            }
            (_, Captured::None | Captured::Real(_)) => {}
        }
    }

    fn scalar<'a>(&self, reader: &mut Reader<'a>) -> Result<Captured<'a>, DecodeError> {
        Ok(match self {
            Self::Boolean => Captured::Truth(reader.boolean()?),
            Self::Int => Captured::Integer(reader.int()?.into()),
            Self::Long | Self::Timestamp(_) => Captured::Integer(reader.long()?),
            Self::Float => Captured::Real(reader.float()?.into()),
            Self::Double => Captured::Real(reader.double()?),
            Self::Bytes => Captured::Bytes(reader.bytes()?),
            Self::String => Captured::Text(reader.string()?),
            Self::Fixed(size) => Captured::Bytes(reader.take(*size)?),
            Self::Enum(symbols) => {
                let index = reader.int()?;
                let symbol = usize::try_from(index).ok().and_then(|index| symbols.get(index)).is_some();
                if !symbol {
                    return Err(DecodeError::Corrupt(format!("symbol {index} of an enum of {}", symbols.len())));
                }
                Captured::Integer(index.into())
            }
            Self::Null | Self::Array(_) | Self::Map(_) | Self::Union(_) | Self::Record(_) => Captured::None,
        })
    }

    /// Reads a value without writing it; what is wanted inside it is captured all the same.
    fn skip<'a>(&self, reader: &mut Reader<'a>, slots: &mut Slots<'a>) -> Result<Captured<'a>, DecodeError> {
        match self {
            Self::Union(_) => self.resolve(reader)?.skip(reader, slots),
            Self::Record(fields) => {
                for field in fields {
                    let value = field.node.skip(reader, slots)?;
                    slots.set(field.slot, value);
                }
                Ok(Captured::None)
            }
            Self::Array(item) | Self::Map(item) => {
                let keyed = matches!(self, Self::Map(_));
                loop {
                    let count = reader.block()?;
                    if count == 0 {
                        return Ok(Captured::None);
                    }
                    for _ in 0..count {
                        if keyed {
                            reader.bytes()?;
                        }
                        item.skip(reader, slots)?;
                    }
                }
            }
            scalar => scalar.scalar(reader),
        }
    }
}

fn open(tag: u8, name: Name<'_>, io: &mut Io<'_, '_>) -> usize {
    io.name(tag, name);
    let start = io.out.len();
    io.out.extend_from_slice(&[0; 4]);
    start
}

fn close(start: usize, io: &mut Io<'_, '_>) {
    io.out.push(0);
    let length = u32::try_from(io.out.len() - start).expect("a packet is far smaller than 4 GiB");
    io.out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}
