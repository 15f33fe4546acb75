//! The directory in etcd: a key for each coordinator below `coordinators/`, and one, `nodes`, for all nodes.

use boom_plan::id::{PlanVersion, Term};
use etcd_client::{Compare, CompareOp, GetOptions, KeyValue, PutOptions, Txn, TxnOp};

use super::{Etcd, call, create_revision};
use crate::store::directory::{Directory, LASTS, Target};
use crate::store::{Error, Hold, Store as _};

impl Directory for Etcd {
    async fn enrol(&self, me: &Target, lease: Option<i64>) -> Result<i64, Error> {
        let doing = "enrolling this coordinator";
        if let Some(lease) = lease
            && self.keep(&Hold { term: Term(0), lease, ttl: LASTS }).await?
        {
            return Ok(lease);
        }
        let seconds = i64::try_from(LASTS.as_secs()).unwrap_or(i64::MAX);
        let lease = call(doing, self.client.lease_client().grant(seconds, None)).await?.id();
        let key = format!("{}{}", self.coordinators, me.name);
        let put = self.client.kv_client().put(key, json(me)?, Some(PutOptions::new().with_lease(lease))).await;
        put.map_err(|error| super::unavailable(doing, &error))?;
        Ok(lease)
    }

    async fn withdraw(&self, lease: i64) -> Result<(), Error> {
        self.revoke(lease).await
    }

    async fn publish(&self, term: Term, nodes: &[Target]) -> Result<(), Error> {
        let leads = Compare::create_revision(self.leader.as_str(), CompareOp::Equal, create_revision(term));
        let put = TxnOp::put(self.nodes.as_str(), json(nodes)?, None);
        let written = call(WRITING, self.client.kv_client().txn(Txn::new().when([leads]).and_then([put]))).await?;
        if written.succeeded() { Ok(()) } else { Err(Error::Deposed { version: PlanVersion(0), term }) }
    }

    async fn targets(&self) -> Result<Vec<Target>, Error> {
        let doing = "reading the directory";
        let mut kv = self.client.kv_client();
        let coordinators =
            call(doing, kv.get(self.coordinators.as_str(), Some(GetOptions::new().with_prefix()))).await?;
        let nodes = call(doing, kv.get(self.nodes.as_str(), None)).await?;
        let mut targets: Vec<Target> = coordinators.kvs().iter().map(|kv| read(doing, kv)).collect::<Result<_, _>>()?;
        for kv in nodes.kvs() {
            targets.extend(read::<Vec<Target>>(doing, kv)?);
        }
        targets.sort();
        Ok(targets)
    }
}

const WRITING: &str = "writing the nodes into the directory";

fn json(value: &(impl serde::Serialize + ?Sized)) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Malformed { doing: WRITING, why: error.to_string() })
}

fn read<T: serde::de::DeserializeOwned>(doing: &'static str, kv: &KeyValue) -> Result<T, Error> {
    serde_json::from_slice(kv.value()).map_err(|error| Error::Malformed { doing, why: error.to_string() })
}
