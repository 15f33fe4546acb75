//! Packets of the simulator, and the same packets changed: opened with a general Avro reader, edited, and written with the same schema.

use apache_avro::types::Value;
use apache_avro::{Codec, Reader, Schema, Writer};
use boom_node::source::simulator::{SimulatedPacket, SimulatedSurvey, Simulator, SimulatorConfig};

/// The first `alerts` packets of a night of a survey.
pub fn simulated(survey: SimulatedSurvey, alerts: u64, seed: u64) -> Vec<SimulatedPacket> {
    Simulator::new(SimulatorConfig { survey, alerts, nights: 3, seed }).collect()
}

/// The first `alerts` packets of a ZTF night.
pub fn ztf(alerts: u64) -> Vec<SimulatedPacket> {
    simulated(SimulatedSurvey::Ztf, alerts, 5)
}

/// A packet that is opened.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Its writer schema, JSON.
    pub schema: serde_json::Value,
    /// Its record.
    pub record: Value,
}

impl Opened {
    /// Opens a container's first record.
    pub fn new(packet: &[u8]) -> Self {
        let mut reader = Reader::new(packet).expect("the packet is Avro");
        let container = boom_sky::schema::Container::parse(packet).expect("the packet is a container");
        let schema = serde_json::from_slice(container.schema).expect("a schema is JSON");
        let record = reader.next().expect("the packet has a record").expect("the record is whole");
        Self { schema, record }
    }

    /// The field at a path (`candidate.ra`); unions are looked through.
    pub fn field(&mut self, path: &str) -> &mut Value {
        path.split('.').fold(&mut self.record, |value, name| {
            let Value::Record(fields) = inside(value) else { panic!("`{name}` of {path} is in no record") };
            let field = fields.iter_mut().find(|field| field.0 == name);
            &mut field.unwrap_or_else(|| panic!("`{name}` of {path} is not there")).1
        })
    }

    /// With the value of a field replaced, inside its union when it is in one.
    #[must_use]
    pub fn set(mut self, path: &str, value: Value) -> Self {
        *inside(self.field(path)) = value;
        self
    }

    /// With these bytes as that stamp (`Science`, `Template`, `Difference`).
    #[must_use]
    pub fn stamp(self, which: &str, bytes: Vec<u8>) -> Self {
        self.set(&format!("cutout{which}.stampData"), Value::Bytes(bytes))
    }

    /// The bytes of that stamp.
    pub fn stamp_bytes(&mut self, which: &str) -> Vec<u8> {
        match inside(self.field(&format!("cutout{which}.stampData"))) {
            Value::Bytes(bytes) => bytes.clone(),
            other => panic!("a stamp is bytes, not {other:?}"),
        }
    }

    /// With a field taken out of the schema and of the record.
    #[must_use]
    pub fn without(mut self, path: &str) -> Self {
        let (at, name) = path.rsplit_once('.').map_or(("", path), |(at, name)| (at, name));
        let record = if at.is_empty() { &mut self.record } else { inside(self.field(at)) };
        let Value::Record(fields) = record else { panic!("{at} is no record") };
        fields.retain(|field| field.0 != name);
        let mut record = &mut self.schema;
        for step in at.split('.').filter(|step| !step.is_empty()) {
            let fields = record["fields"].as_array_mut().expect("a record has fields");
            let field = fields.iter_mut().find(|field| field["name"] == step).expect("the field is in the schema");
            record = &mut field["type"];
        }
        record["fields"].as_array_mut().expect("a record has fields").retain(|field| field["name"] != name);
        self
    }

    /// With the schema's text changed: `from` becomes `to` wherever it stands.
    #[must_use]
    pub fn renamed(mut self, from: &str, to: &str) -> Self {
        let text = self.schema.to_string();
        assert!(text.contains(from), "`{from}` is in the schema");
        self.schema = serde_json::from_str(&text.replace(from, to)).expect("the schema stays JSON");
        self
    }

    /// As a container again.
    pub fn bytes(&self) -> Vec<u8> {
        container(&self.schema, std::slice::from_ref(&self.record), Codec::Null, usize::MAX)
    }
}

/// A container of records of one schema, a block after every `a_block` of them.
pub fn container(schema: &serde_json::Value, records: &[Value], codec: Codec, a_block: usize) -> Vec<u8> {
    let schema = Schema::parse(schema).expect("the schema is Avro");
    let mut writer = Writer::with_codec(&schema, Vec::new(), codec).expect("the schema is written");
    for records in records.chunks(a_block.min(records.len().max(1))) {
        for record in records {
            writer.append_value(record.clone()).expect("the record is of the schema");
        }
        writer.flush().expect("a vector is written to");
    }
    writer.into_inner().expect("a vector is written to")
}

fn inside(value: &mut Value) -> &mut Value {
    match value {
        Value::Union(_, inner) => inside(inner),
        other => other,
    }
}

/// The FITS file of a 2-D image of 32-bit floats, gzipped.
pub fn stamp(width: usize, height: usize, pixel: impl Fn(usize) -> f32) -> Vec<u8> {
    let mut fits = Vec::new();
    let cards = [
        "SIMPLE  =                    T".to_owned(),
        "BITPIX  =                  -32".to_owned(),
        "NAXIS   =                    2".to_owned(),
        format!("NAXIS1  = {width:>20}"),
        format!("NAXIS2  = {height:>20}"),
        "END".to_owned(),
    ];
    for card in cards {
        fits.extend_from_slice(format!("{card:<80}").as_bytes());
    }
    fits.resize(2880, b' ');
    fits.extend((0..width * height).flat_map(|at| pixel(at).to_be_bytes()));
    fits.resize(fits.len().next_multiple_of(2880), 0);
    gzip(&fits)
}

/// Bytes, gzipped.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
    let mut out = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let length = compressor.gzip_compress(bytes, &mut out).expect("the bound is enough");
    out.truncate(length);
    out
}
