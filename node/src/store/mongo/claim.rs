//! Whose a candid is: the first delivery inserts the claim, every other one finds it there. An alert's document comes later, whole.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use boom_sky::alert::Origin;
use boom_sky::survey::Survey;
use boom_store::documents::Claim;
use bson::RawDocument;

use super::command::{Kind, document, find, integers};
use super::{Error, Inner, names};
use crate::stage::Received;

/// How long it may take until the majority has what one server has.
const SOON: Duration = Duration::from_millis(5);

impl Inner {
    /// Claims the candids of a batch.
    pub(super) async fn claim(&self, batch: &[Received]) -> Result<Vec<Claim>, Error> {
        let mut firsts: HashMap<(&'static str, i64), usize> = HashMap::new();
        let mut surveys: Vec<(&'static Survey, Vec<usize>)> = Vec::new();
        for (at, received) in batch.iter().enumerate() {
            let (survey, candid) = (received.alert.survey, received.alert.candid);
            if *firsts.entry((survey.name, candid)).or_insert(at) != at {
                continue;
            }
            match surveys.iter_mut().find(|known| known.0.name == survey.name) {
                Some(known) => known.1.push(at),
                None => surveys.push((survey, vec![at])),
            }
        }
        let mut earlier: HashMap<usize, Origin> = HashMap::new();
        for (survey, alerts) in surveys {
            let retried = alerts.iter().copied().filter(|at| batch[*at].retry_of.is_some()).collect();
            self.claim_of(survey, batch, alerts, &mut earlier).await?;
            self.take_over(survey, batch, retried, &mut earlier).await?;
        }
        let judge = |(at, received): (usize, &Received)| {
            let first = firsts[&(received.alert.survey.name, received.alert.candid)];
            match earlier.get(&first) {
                None if first == at => Claim::New,
                owner => {
                    let owner = owner.unwrap_or(&batch[first].origin);
                    if *owner == received.origin { Claim::Redelivery } else { Claim::Repeat(owner.clone()) }
                }
            }
        };
        Ok(batch.iter().enumerate().map(judge).collect())
    }

    /// Claims the candids of alerts of one survey; those that were claimed before go to `earlier`, with the origin that has them.
    async fn claim_of(
        &self,
        survey: &Survey,
        batch: &[Received],
        mut alerts: Vec<usize>,
        earlier: &mut HashMap<usize, Origin>,
    ) -> Result<(), Error> {
        let collection = names::claims(survey);
        loop {
            let claims: Vec<_> = alerts.iter().map(|at| claim(&batch[*at])).collect();
            let written = self.connection.write(Kind::Insert, &collection, &claims).await?;
            let taken: Vec<usize> = written.duplicates.iter().map(|at| alerts[*at]).collect();
            if taken.is_empty() {
                return Ok(());
            }
            let owners = self.owners(&collection, batch, &taken).await?;
            alerts.clear();
            for at in taken {
                match owners.get(&batch[at].alert.candid) {
                    Some(owner) => drop(earlier.insert(at, owner.clone())),
                    // Not yet with the majority, or rolled back.
                    None => alerts.push(at),
                }
            }
            if alerts.is_empty() {
                return Ok(());
            }
            self.connection.pause(SOON).await?;
        }
    }

    /// A dead letter that is tried once more takes the claim over from the packet that it was: whoever tries it a second time finds another
    /// owner there, and a packet that is delivered again its own.
    async fn take_over(
        &self,
        survey: &Survey,
        batch: &[Received],
        mut retried: Vec<usize>,
        earlier: &mut HashMap<usize, Origin>,
    ) -> Result<(), Error> {
        retried.retain(|at| earlier.get(at).is_some_and(|owner| batch[*at].retry_of.as_ref() == Some(owner)));
        if retried.is_empty() {
            return Ok(());
        }
        let collection = names::claims(survey);
        let statements: Vec<_> = retried.iter().map(|at| change(&batch[*at])).collect();
        self.connection.write(Kind::Update, &collection, &statements).await?;
        let owners = self.owners(&collection, batch, &retried).await?;
        earlier.extend(retried.into_iter().filter_map(|at| Some((at, owners.get(&batch[at].alert.candid)?.clone()))));
        Ok(())
    }

    /// Who has the candids of these alerts, as far as the majority knows.
    async fn owners(&self, collection: &str, batch: &[Received], of: &[usize]) -> Result<HashMap<i64, Origin>, Error> {
        let candids = || of.iter().map(|at| batch[*at].alert.candid);
        let query = find(collection, |writer| among(candids(), writer), &[], None);
        let found = self.connection.find("reading claims", &query).await?;
        Ok(found.iter().filter_map(|claim| owner(claim)).collect())
    }
}

/// A filter on `_id`.
pub(super) fn among(candids: impl IntoIterator<Item = i64>, writer: &mut boom_sky::document::Writer<'_>) {
    let ids = writer.open_document("_id");
    integers("$in", candids, writer);
    writer.close(ids);
}

fn claim(received: &Received) -> Vec<u8> {
    document(|writer| {
        writer.int64("_id", received.alert.candid);
        received.origin.write(writer);
    })
}

/// The claim becomes that of this origin, if it is that of the packet that is tried once more.
fn change(received: &Received) -> Vec<u8> {
    document(|writer| {
        let which = writer.open_document("q");
        writer.int64("_id", received.alert.candid);
        received.retry_of.iter().for_each(|first| first.write(writer));
        writer.close(which);
        let (change, set) = (writer.open_document("u"), writer.open_document("$set"));
        received.origin.write(writer);
        writer.close(set);
        writer.close(change);
    })
}

/// Whose a claim is; one that does not say so is somebody else's.
fn owner(claim: &RawDocument) -> Option<(i64, Origin)> {
    let origin = || {
        let origin = claim.get_document("origin").ok()?;
        Some(Origin {
            source: Arc::from(origin.get_str("source").ok()?),
            partition: origin.get_i32("partition").ok()?,
            offset: origin.get_i64("offset").ok()?.cast_unsigned(),
            record: origin.get_i32("record").ok()?.cast_unsigned(),
        })
    };
    let unknown = || Origin { source: Arc::from("unknown"), partition: -1, offset: 0, record: 0 };
    Some((claim.get_i64("_id").ok()?, origin().unwrap_or_else(unknown)))
}
