//! The plan as it is stored: a byte for the form, then the plan's JSON in zstd. etcd takes 1.5 MB in one request.

use std::io::Read as _;

use boom_plan::plan::Plan;

use crate::store::Error;

/// The one form that there is.
const FORM: u8 = 1;

/// So much is stored at most: what is left of 1.5 MB is for the rest of the transaction.
const LIMIT: usize = 1_400_000;

/// So much JSON is read at most.
const JSON_LIMIT: u64 = 256 << 20;

/// The plan's bytes.
pub(super) fn pack(plan: &Plan) -> Result<Vec<u8>, Error> {
    let doing = "packing the plan";
    let failed = |error: std::io::Error| Error::Malformed { doing, why: error.to_string() };
    let mut packed = vec![FORM];
    zstd::stream::copy_encode(plan.to_json().as_bytes(), &mut packed, zstd::DEFAULT_COMPRESSION_LEVEL)
        .map_err(failed)?;
    if packed.len() > LIMIT {
        return Err(Error::TooLarge { version: plan.version, bytes: packed.len(), limit: LIMIT });
    }
    Ok(packed)
}

/// The plan of these bytes; otherwise what is wrong with them.
pub(super) fn unpack(bytes: &[u8]) -> Result<Plan, String> {
    let (form, packed) = bytes.split_first().ok_or("the stored plan is empty")?;
    if *form != FORM {
        return Err(format!("the stored plan has the form {form}, this version knows {FORM}"));
    }
    let mut text = String::new();
    let decoder = zstd::stream::Decoder::new(packed).map_err(|error| error.to_string())?;
    let read = decoder.take(JSON_LIMIT).read_to_string(&mut text);
    read.map_err(|error| format!("unpacking the stored plan: {error}"))?;
    Plan::from_json(&text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use boom_plan::id::{PlanVersion, Term};
    use boom_plan::plan::{Assignment, Ownership};
    use boom_plan::reason::Reason;

    use super::*;

    fn plan(partitions: usize) -> Plan {
        let mut plan = Plan { version: PlanVersion(7), ..Plan::empty(Term(3)) };
        for number in 0..partitions {
            // Names that say nothing about each other, as far as a compressor can see.
            let noise = (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let partition = format!("ztf/{:x}{:x}/{number}", noise, noise.rotate_left(29).wrapping_mul(noise));
            let state = Ownership::Owned { owner: "node-1#1764000000000".parse().unwrap() };
            let reason = Reason::LeastLoaded { of: 3 };
            let entry = Assignment { state, since: PlanVersion(5), fence: Default::default(), reason };
            plan.owners.insert(partition.parse().unwrap(), entry);
        }
        plan
    }

    #[test]
    fn a_plan_of_ten_thousand_partitions_is_stored_and_read_back() {
        let plan = plan(10_000);
        let packed = pack(&plan).unwrap();
        assert!(packed.len() < plan.to_json().len() / 4, "{} of {}", packed.len(), plan.to_json().len());
        assert_eq!(unpack(&packed).unwrap(), plan);
    }

    #[test]
    fn a_plan_that_etcd_would_not_take_is_refused_with_what_to_do() {
        let Err(error) = pack(&plan(90_000)) else { panic!("it is short enough") };
        assert!(matches!(error, Error::TooLarge { .. }) && !error.is_retryable() && !error.is_refusal());
        assert!(error.to_string().contains("remove streams"), "{error}");
    }

    #[test]
    fn what_is_no_plan_is_said_to_be_none() {
        let packed = pack(&plan(1)).unwrap();
        for bytes in [&[][..], b"{}", &packed[..1], &packed[..20], &[2, 0, 0]] {
            unpack(bytes).unwrap_err();
        }
        assert_eq!(unpack(b"{}").unwrap_err(), "the stored plan has the form 123, this version knows 1");
    }
}
