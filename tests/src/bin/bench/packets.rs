//! As many distinct packets as are wanted from a few: each copy gets its own candid, object and place.
//!
//! A template is decoded once with a general Avro reader, to know what stands where; a copy is then the template's bytes with the new values
//! in the places of the old ones, which have the same lengths. That each copy decodes to just these values is checked for every template.

use std::path::Path;

use anyhow::{Context as _, bail};
use apache_avro::types::Value;
use boom_node::source::simulator::{SimulatedSurvey, Simulator, SimulatorConfig};
use boom_sky::schema::Decoder;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Candids are counted from here: nine bytes in Avro, as those of the templates.
const FIRST: i64 = 3_000_000_000_000_000_000;

/// A packet, and where its values stand.
#[derive(Debug)]
struct Template {
    bytes: Vec<u8>,
    candids: Vec<usize>,
    object: usize,
    position: usize,
}

/// Gives packets, the same for the same seed.
#[derive(Debug)]
pub(crate) struct Packets {
    templates: Vec<Template>,
    next: u64,
    random: Pcg64Mcg,
}

impl Packets {
    /// From the real packets of a folder, or from simulated ones where there is none.
    pub(crate) fn open(folder: Option<&Path>) -> anyhow::Result<Self> {
        let originals = match folder {
            Some(folder) => read(folder)?,
            None => {
                let night = SimulatorConfig { survey: SimulatedSurvey::Ztf, alerts: 400, nights: 10, seed: 3 };
                Simulator::new(night).skip(375).map(|packet| packet.bytes).collect()
            }
        };
        let templates = originals.into_iter().map(Template::new).collect::<anyhow::Result<Vec<_>>>()?;
        if templates.is_empty() {
            bail!("there is no packet to make others of");
        }
        let mut packets = Self { templates, next: 0, random: Pcg64Mcg::seed_from_u64(1) };
        packets.check()?;
        Ok(packets)
    }

    /// Leaves so many packets out.
    pub(crate) fn skip(&mut self, packets: u64) {
        self.next += packets;
    }

    /// The next packet.
    pub(crate) fn packet(&mut self) -> Vec<u8> {
        let (ra, sin_dec) = (self.random.random_range(0.0..360.0), self.random.random_range(-0.5..1.0f64));
        self.make((ra, sin_dec.asin().to_degrees())).0
    }

    fn make(&mut self, (ra, dec): (f64, f64)) -> (Vec<u8>, i64, String) {
        let template = &self.templates[self.next as usize % self.templates.len()];
        let candid = FIRST + self.next.cast_signed();
        let object = format!("ZTF{:09}", self.next);
        self.next += 1;
        let mut bytes = template.bytes.clone();
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        let encoded = long(candid);
        template.candids.iter().for_each(|at| put(*at, &encoded));
        put(template.object, object.as_bytes());
        put(template.position, &ra.to_le_bytes());
        put(template.position + 8, &dec.to_le_bytes());
        (bytes, candid, object)
    }

    /// One copy of every template says what it should.
    fn check(&mut self) -> anyhow::Result<()> {
        let decoder = Decoder::new(None, std::collections::HashMap::new(), String::new(), 16 << 20);
        for number in 0..self.templates.len() {
            let place = (number as f64, 1.0);
            let (bytes, candid, object) = self.make(place);
            let alert = decoder.decode(&bytes).remove(0).map_err(|undecoded| undecoded.error)?;
            if (alert.candid, &alert.object_id, (alert.head.ra, alert.head.dec)) != (candid, &object, place) {
                bail!("a packet does not hold the values that were put in");
            }
        }
        Ok(())
    }
}

fn read(folder: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    files.sort();
    files.iter().map(|file| std::fs::read(file).with_context(|| format!("reading {}", file.display()))).collect()
}

impl Template {
    fn new(bytes: Vec<u8>) -> anyhow::Result<Self> {
        let record = apache_avro::Reader::new(&*bytes)?.next().context("the packet has no record")??;
        let candidate = field(&record, "candidate")?;
        let (Value::Long(candid), Value::String(object)) = (field(&record, "candid")?, field(&record, "objectId")?)
        else {
            bail!("candid or objectId has another type than ZTF's");
        };
        let (Value::Double(ra), Value::Double(dec)) = (field(candidate, "ra")?, field(candidate, "dec")?) else {
            bail!("ra or dec has another type than ZTF's");
        };
        let (old, new) = (long(*candid), long(FIRST));
        if old.len() != new.len() || object.len() != "ZTF".len() + 9 {
            bail!("the candid {candid} or the object {object} has another length than ZTF's");
        }
        let place = [ra.to_le_bytes(), dec.to_le_bytes()].concat();
        let first = |what: &[u8]| find(&bytes, what).next().context("a value is not where it should be");
        let (object, position) = (first(object.as_bytes())?, first(&place)?);
        let candids = find(&bytes, &old).collect();
        Ok(Self { candids, object, position, bytes })
    }
}

fn field<'v>(record: &'v Value, name: &str) -> anyhow::Result<&'v Value> {
    let Value::Record(fields) = record else { bail!("{name} is looked for in what is no record") };
    Ok(&fields.iter().find(|field| field.0 == name).with_context(|| format!("there is no {name}"))?.1)
}

/// Avro's encoding of a long.
fn long(value: i64) -> Vec<u8> {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    let mut out = Vec::new();
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
    out
}

fn find<'b>(bytes: &'b [u8], what: &'b [u8]) -> impl Iterator<Item = usize> + 'b {
    bytes.windows(what.len()).enumerate().filter(move |window| window.1 == what).map(|window| window.0)
}
