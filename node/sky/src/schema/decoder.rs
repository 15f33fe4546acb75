//! From a packet's bytes to its alerts: framing, the plan of its writer schema (compiled once), the datums.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, RwLock};

use xxhash_rust::xxh3::xxh3_64;

use super::compile::survey_of;
use super::container::{CONFLUENT_HEADER, Container, Framing, decompress};
use super::{DecodeError, Plan};
use crate::alert::Alert;
use crate::survey::Survey;

/// More distinct writer schemas than surveys ever have: what is beyond is compiled again each time.
const MAX_PLANS: usize = 256;

/// Schema documents of a Confluent id: every named type in a document of its own.
pub type SchemaDocuments = Vec<String>;

/// Decodes packets; shared by all workers.
#[derive(Debug)]
pub struct Decoder {
    forced: Option<&'static Survey>,
    by_id: RwLock<HashMap<u32, SchemaDocuments>>,
    schemas_hint: String,
    max_bytes: usize,
    plans: RwLock<HashMap<Key, Compiled>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Inside(u64, usize),
    Id(u32),
}

type Compiled = Result<Arc<Plan>, DecodeError>;

/// A record that could not be decoded, and what was known of it by then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecoded {
    /// Why.
    pub error: DecodeError,
    /// The survey, when the schema told it.
    pub survey: Option<&'static str>,
}

impl From<DecodeError> for Undecoded {
    fn from(error: DecodeError) -> Self {
        Self { error, survey: None }
    }
}

impl Decoder {
    /// A decoder. `forced` takes packets whose record is of no survey as that survey's; `by_id` holds the writer schemas of Confluent ids, and `schemas_hint` says
    /// where they came from; no packet and no block of it may be larger than `max_bytes`.
    pub fn new(
        forced: Option<&'static Survey>,
        by_id: HashMap<u32, SchemaDocuments>,
        schemas_hint: String,
        max_bytes: usize,
    ) -> Self {
        Self { forced, by_id: RwLock::new(by_id), schemas_hint, max_bytes, plans: RwLock::default() }
    }

    /// Takes in the writer schema of a Confluent id, for packets that are decoded from now on. What an id stands for never changes: a known one is left
    /// as it is.
    pub fn learn(&self, id: u32, documents: SchemaDocuments) {
        self.by_id.write().expect("no decoder panics with the lock").entry(id).or_insert(documents);
    }

    /// Whether the writer schema of a Confluent id is there.
    pub fn knows(&self, id: u32) -> bool {
        self.by_id.read().expect("no decoder panics with the lock").contains_key(&id)
    }

    /// The Confluent ids of some packets whose writer schemas are not there.
    pub fn unknown<'a>(&self, packets: impl IntoIterator<Item = &'a [u8]>) -> BTreeSet<u32> {
        let ids = packets.into_iter().filter_map(|packet| match Framing::detect(packet) {
            Ok(Framing::Confluent { id }) => Some(id),
            Ok(Framing::Container) | Err(_) => None,
        });
        let by_id = self.by_id.read().expect("no decoder panics with the lock");
        ids.filter(|id| !by_id.contains_key(id)).collect()
    }

    /// The alerts of a packet: one as a rule, more from a container of many records, one error for what can not be read.
    pub fn decode(&self, packet: &[u8]) -> Vec<Result<Alert, Undecoded>> {
        if packet.len() > self.max_bytes {
            let sizes = format!("{} bytes, where {} are allowed", packet.len(), self.max_bytes);
            return vec![Err(DecodeError::TooLarge(sizes).into())];
        }
        match Framing::detect(packet) {
            Err(error) => vec![Err(error.into())],
            Ok(Framing::Confluent { id }) => vec![self.confluent(id, &packet[CONFLUENT_HEADER..])],
            Ok(Framing::Container) => self.container(packet),
        }
    }

    fn confluent(&self, id: u32, datum: &[u8]) -> Result<Alert, Undecoded> {
        let plan = self.plan(Key::Id(id), || {
            let by_id = self.by_id.read().expect("no decoder panics with the lock");
            let documents = by_id.get(&id).cloned();
            drop(by_id);
            let documents =
                documents.ok_or_else(|| DecodeError::UnknownSchema { id, hint: self.schemas_hint.clone() })?;
            Plan::from_documents(&documents, self.forced)
        })?;
        let known = |error| Undecoded { error, survey: Some(plan.survey.name) };
        let (alert, length) = plan.decode(datum).map_err(known)?;
        if length != datum.len() {
            let error = format!("{} bytes are left behind the record", datum.len() - length);
            return Err(known(DecodeError::Corrupt(error)));
        }
        Ok(alert)
    }

    fn container(&self, packet: &[u8]) -> Vec<Result<Alert, Undecoded>> {
        let opened = Container::parse(packet).and_then(|container| {
            let key = Key::Inside(xxh3_64(container.schema), container.schema.len());
            let plan = self.plan(key, || Plan::from_json(container.schema, self.forced))?;
            Ok((container, plan))
        });
        let (container, plan) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let survey = Container::parse(packet).ok().and_then(|container| survey_of(container.schema));
                return vec![Err(Undecoded { error, survey: survey.or(self.forced).map(|survey| survey.name) })];
            }
        };
        let mut alerts = Vec::with_capacity(1);
        let mut at = container.length;
        let outcome = loop {
            match container.block(packet, at) {
                Ok(Some(block)) => {
                    at = block.next;
                    if let Err(error) = self.block(&container, &plan, block.data, block.records, &mut alerts) {
                        break Err(error);
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let error = match outcome {
            Err(error) => Some(error),
            Ok(()) if alerts.is_empty() => Some(DecodeError::Truncated("the container holds no record".into())),
            Ok(()) => None,
        };
        alerts.extend(error.map(|error| Err(Undecoded { error, survey: Some(plan.survey.name) })));
        alerts
    }

    fn block(
        &self,
        container: &Container<'_>,
        plan: &Plan,
        data: &[u8],
        records: u32,
        alerts: &mut Vec<Result<Alert, Undecoded>>,
    ) -> Result<(), DecodeError> {
        let datums = decompress(container.codec, data, self.max_bytes)?;
        let mut at = 0;
        for _ in 0..records {
            let (alert, length) = plan.decode(&datums[at..])?;
            alerts.push(Ok(alert));
            at += length;
        }
        if at != datums.len() {
            return Err(DecodeError::Corrupt(format!("{} bytes are left behind the records", datums.len() - at)));
        }
        Ok(())
    }

    /// The plan under `key`; what is wrong with a schema is remembered as well, but not that it is unknown: it may be learnt.
    fn plan(&self, key: Key, compile: impl FnOnce() -> Result<Plan, DecodeError>) -> Compiled {
        let known = |plans: &HashMap<Key, Compiled>| plans.get(&key).cloned();
        if let Some(plan) = known(&self.plans.read().expect("no decoder panics with the lock")) {
            return plan;
        }
        let plan = compile().map(Arc::new);
        if matches!(plan, Err(DecodeError::UnknownSchema { .. })) {
            return plan;
        }
        let mut plans = self.plans.write().expect("no decoder panics with the lock");
        if plans.len() < MAX_PLANS {
            plans.insert(key, plan.clone());
        }
        plan
    }
}
