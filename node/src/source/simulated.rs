//! The simulator as a source: a night of alerts that needs no file.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::simulator::{Simulator, SimulatorConfig};
use super::{Packet, Source, SourceError};

/// Gives the packets of a simulated sky.
#[derive(Debug)]
pub struct Simulated {
    config: SimulatorConfig,
}

impl Simulated {
    /// A source of the night that `config` describes.
    pub fn new(config: SimulatorConfig) -> Self {
        Self { config }
    }
}

impl Source for Simulated {
    fn run(&mut self, emit: &mut dyn FnMut(Packet) -> ControlFlow<()>) -> Result<(), SourceError> {
        let source: Arc<str> = Arc::from("simulator");
        for (offset, packet) in (0..).zip(Simulator::new(self.config.clone())) {
            let packet = Packet {
                source: Arc::clone(&source),
                offset,
                name: packet.name,
                timestamp: None,
                retry_of: None,
                assignment: 0,
                bytes: packet.bytes,
                fault: None,
            };
            if emit(packet).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn identity(&self) -> Result<Vec<String>, SourceError> {
        Ok(vec![format!("simulator {:?}", self.config)])
    }

    fn expected(&self) -> Option<u64> {
        Some(self.config.alerts)
    }
}
