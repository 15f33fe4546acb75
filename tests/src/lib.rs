//! What the scenarios share: running `boom-node` as a process, making packets that are as wrong as a test wants them, reading an output.
//!
//! A scenario is a file in `tests/tests`; what only one of them needs lives there.
#![forbid(unsafe_code)]

pub mod batches;
pub mod boomctl;
pub mod cluster;
pub mod compose;
pub mod coordinator;
pub mod documents;
pub mod emission;
pub mod etcd;
pub mod eventually;
pub mod fake_node;
pub mod kafka;
pub mod mongod;
pub mod night;
pub mod node;
pub mod oracle;
pub mod output;
pub mod packets;
pub mod proxy;
pub mod registry;
pub mod scenario;
pub mod servers;
pub mod shared;
pub mod simulation;
pub mod watched;

/// Every promise of a port, an async function of the adapter and a directory in the module above, as a test of one adapter.
#[macro_export]
macro_rules! contract {
    ($adapter:ident: $($promise:ident)*) => {
        $(
            #[test]
            fn $promise() {
                let directory = tempfile::tempdir().unwrap();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(super::$promise::<super::$adapter>(directory.path()));
            }
        )*
    };
}
