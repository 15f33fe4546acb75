//! A simulated night: a sky of variable stars, supernovae, active galaxies, flares, asteroids and artefacts, looked at by ZTF or LSST, as
//! alert packets with the survey's own fields. Everything is a pure function of the seed: a light-curve point has the same value in every
//! packet that shows it, nothing is remembered from packet to packet, and the same configuration gives the same bytes on every machine.
//!
//! What may not live here: anything that reads packets, and anything of the pipeline. Only external crates are used.

mod archive;
mod avro;
mod catalogs;
mod draw;
mod gzip;
mod lightcurve;
mod lsst;
mod lsst_facts;
mod lsst_records;
mod lsst_solar;
mod photometry;
mod plan;
mod population;
mod render;
mod sky;
#[cfg(test)]
mod tests;
mod ztf;
mod ztf_facts;
mod ztf_records;

use std::ops::Range;

pub use archive::{ArchiveSummary, write_archive};
pub use catalogs::{CatalogValue, SimulatedCatalog, SimulatedRow};

use draw::{Noise, mix};
use photometry::Photometry;
use population::Source;
use sky::{Instrument, Schedule, Visit};

/// Whose packets to simulate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SimulatedSurvey {
    /// ZTF, schema 4.02.
    Ztf,
    /// LSST, schema 11.0.
    Lsst,
}

/// What to simulate. The same configuration gives the same packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatorConfig {
    /// Whose packets.
    pub survey: SimulatedSurvey,
    /// Number of packets; exactly so many come.
    pub alerts: u64,
    /// Nights over which they are spread, about evenly; at least 1.
    pub nights: u32,
    /// Seed of everything.
    pub seed: u64,
}

/// Populations of the simulated sky.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Population {
    /// Periodic variable stars.
    Variable,
    /// Supernovae, most of them on a host galaxy.
    Supernova,
    /// Active galactic nuclei.
    Agn,
    /// Dwarf novae and flare stars.
    Flare,
    /// Asteroids.
    Asteroid,
    /// What is not on the sky at all.
    Artefact,
}

/// Kinds of artefacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ArtefactKind {
    /// One or two pixels.
    HotPixel,
    /// A short, sharp track.
    CosmicRay,
    /// A star that the images hold at places a fraction of a pixel apart.
    Dipole,
    /// A satellite's track across the stamp.
    Streak,
    /// A diffraction spike of a bright star.
    Spike,
    /// A wide reflection.
    Ghost,
}

/// What an alert really is.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// Where it belongs.
    pub population: Population,
    /// Its class: "RRab", "Ia", "QSO", "dipole", …
    pub kind: &'static str,
    /// Whether there is something on the sky.
    pub is_real: bool,
    /// The survey's name or number of the object.
    pub object_id: String,
    /// Period, or mean time between outbursts, in days.
    pub period: Option<f64>,
    /// Redshift of the host.
    pub redshift: Option<f64>,
    /// Signal-to-noise ratio of the detection.
    pub snr: f64,
}

/// One alert packet.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatedPacket {
    /// `<candid>.avro`.
    pub name: String,
    /// candid, or diaSourceId.
    pub candid: i64,
    /// Time of the visit, UTC Julian date.
    pub jd: f64,
    /// An Avro object container with one record, codec null, the schema inside.
    pub bytes: Vec<u8>,
    /// What it really is.
    pub truth: Truth,
    /// Where in `bytes` the science, template and difference stamp are (ZTF: gzipped FITS, LSST: FITS).
    pub stamps: [Range<usize>; 3],
}

/// An earlier visit to a source. Nothing was there for sources that are seen once.
#[derive(Debug)]
struct Past<'a> {
    visit: &'a Visit,
    photometry: Option<Photometry>,
}

impl Past<'_> {
    fn is_detected(&self) -> bool {
        self.photometry.as_ref().is_some_and(Photometry::is_detected)
    }

    /// Forced flux and error at the place of the subject: noise where nothing was.
    fn flux(&self, subject: &Subject<'_>, noise: &Noise) -> (f64, f64) {
        match &self.photometry {
            Some(photometry) => (photometry.flux, photometry.error),
            None => {
                let error = self.visit.faint_error;
                (error * noise.normal(mix(subject.source.seed, self.visit.serial as u64)), error)
            }
        }
    }
}

/// All that a packet is made from.
#[derive(Debug, Clone, Copy)]
struct Subject<'a> {
    instrument: &'a Instrument,
    source: &'a Source,
    /// Slot of the source in its field.
    slot: u64,
    /// Number of the object, unlike any other's.
    number: u64,
    visit: &'a Visit,
    photometry: &'a Photometry,
    /// Earlier visits, oldest first.
    past: &'a [Past<'a>],
}

impl<'a> Subject<'a> {
    fn rendered(&self) -> render::Alert<'a> {
        render::Alert {
            instrument: self.instrument,
            source: self.source,
            visit: self.visit,
            photometry: self.photometry,
        }
    }
}

/// Writer of one survey's packets.
#[derive(Debug)]
enum Packets {
    Ztf(Box<ztf::ZtfPackets>),
    Lsst(Box<lsst::LsstPackets>),
}

/// The stream of packets, in order of time. Memory does not grow with the number of alerts.
#[derive(Debug)]
pub struct Simulator {
    config: SimulatorConfig,
    schedule: Schedule,
    packets: Packets,
    left: u64,
    night: i64,
    place: u64,
    visit: Visit,
    history: Vec<Visit>,
    slot: u64,
}

impl Simulator {
    /// A simulator before its first packet. Takes a few milliseconds: it measures how many sources a visit needs.
    pub fn new(config: SimulatorConfig) -> Self {
        let schedule = plan::schedule(&config);
        let packets = match config.survey {
            SimulatedSurvey::Ztf => Packets::Ztf(Box::new(ztf::ZtfPackets::new(&schedule.noise))),
            SimulatedSurvey::Lsst => Packets::Lsst(Box::new(lsst::LsstPackets::new())),
        };
        let visit = schedule.visit(0, 0);
        let history = schedule.history(&visit);
        Self { left: config.alerts, config, schedule, packets, night: 0, place: 0, visit, history, slot: 0 }
    }

    /// What is simulated.
    pub fn config(&self) -> &SimulatorConfig {
        &self.config
    }

    /// The archival catalogs of this sky: `SimGalaxies` and `SimVariables`, of the fields that the nights look at.
    pub fn catalogs(&self) -> Vec<SimulatedCatalog> {
        catalogs::of(&self.schedule)
    }

    fn next_visit(&mut self) {
        self.place += 1;
        if self.place == self.schedule.visits_a_night() {
            self.place = 0;
            self.night += 1;
        }
        self.visit = self.schedule.visit(self.night, self.place);
        self.history = self.schedule.history(&self.visit);
        self.slot = 0;
    }
}

impl Iterator for Simulator {
    type Item = SimulatedPacket;

    fn next(&mut self) -> Option<SimulatedPacket> {
        if self.left == 0 {
            return None;
        }
        loop {
            if self.slot >= self.visit.sources {
                self.next_visit();
            }
            let slot = self.slot;
            self.slot += 1;
            let source = population::source(&self.schedule, &self.visit, slot);
            let photometry = Photometry::of(&self.schedule.instrument, &self.schedule.noise, &source, &self.visit);
            if photometry.is_detected() {
                self.left -= 1;
                return Some(self.packet(slot, &source, &photometry));
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::try_from(self.left).unwrap_or(usize::MAX), usize::try_from(self.left).ok())
    }
}

impl Simulator {
    fn packet(&mut self, slot: u64, source: &Source, photometry: &Photometry) -> SimulatedPacket {
        let Self { schedule, packets, visit, history, .. } = self;
        let Schedule { instrument, noise, .. } = &*schedule;
        let covered = history.iter().filter(|earlier| source.once || slot < earlier.sources);
        let past: Vec<Past<'_>> = covered
            .map(|visit| Past {
                visit,
                photometry: (!source.once).then(|| Photometry::of(instrument, noise, source, visit)),
            })
            .collect();
        let number = population::object_number(schedule, visit, slot, source.once);
        let subject = Subject { instrument, source, slot, number, visit, photometry, past: &past };
        let (object_id, (bytes, candid, stamps)) = match packets {
            Packets::Ztf(packets) => (ztf::ZtfPackets::object_id(&subject), packets.packet(&subject, noise)),
            Packets::Lsst(packets) => (lsst::LsstPackets::object_id(&subject), packets.packet(&subject, noise)),
        };
        let truth = Truth {
            population: source.population,
            kind: source.kind,
            is_real: source.artefact.is_none(),
            object_id,
            period: source.period,
            redshift: source.host.as_ref().map(|host| host.redshift),
            snr: photometry.snr(),
        };
        SimulatedPacket { name: format!("{candid}.avro"), candid, jd: visit.jd, bytes, truth, stamps }
    }
}
