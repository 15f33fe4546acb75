//! What the rows share: a catalog of two million rows, 25 filters, where packets and models are.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use boom_store::catalog::{CatalogSpec, CatalogWriter, Cell, Column, ColumnType, ImportRecord};
use boom_tests::shared::{repository, shared};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde_json::Value;

use crate::row::{Length, Row};

const CATALOG_ROWS: usize = 2_000_000;
const FILTERS: usize = 25;

/// Files and folders of a bench.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) packets: Option<PathBuf>,
    pub(crate) catalogs: PathBuf,
    /// Folders of filters: copies of one, and variations of it.
    pub(crate) filters: Vec<PathBuf>,
    /// Folders of model files; none where ONNX Runtime or the models are not there.
    pub(crate) models: Vec<PathBuf>,
}

impl Setting {
    /// Makes the catalog and the filters in `folder`, and looks for the rest.
    pub(crate) fn make(folder: &Path) -> anyhow::Result<Self> {
        let cats150 = shared("filters/cats150.json");
        let filter = cats150.unwrap_or_else(|| repository().join("deploy/filters/young_rising_near_galaxy.json"));
        let text = std::fs::read_to_string(&filter).with_context(|| format!("reading {}", filter.display()))?;
        let original: Value = serde_json::from_str(&text)?;
        let copies = write_filters(&folder.join("copies"), |_| original.clone())?;
        let variations = write_filters(&folder.join("variations"), |number| {
            let mut filter = original.clone();
            vary(&mut filter, number as f64 * 1e-3);
            filter
        })?;
        let runtime = std::env::var_os("ORT_DYLIB_PATH").is_some();
        let models = if runtime { shared("models") } else { None };
        Ok(Self {
            packets: shared("alerts/ztf"),
            catalogs: write_catalog(&folder.join("catalogs"))?,
            filters: vec![copies, variations],
            models: models.into_iter().collect(),
        })
    }

    /// A row of this setting.
    pub(crate) fn row(&self, filters: &Path, models: &[PathBuf], workers: usize, length: Length) -> Row {
        Row {
            packets: self.packets.clone(),
            catalogs: self.catalogs.clone(),
            filters: filters.to_owned(),
            models: models.to_vec(),
            workers,
            length,
            out: PathBuf::new(),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.packets {
            Some(folder) => write!(f, "packets of {} with new candid, object and position", folder.display())?,
            None => write!(
                f,
                "SIMULATED PACKETS, because no real ones are here; they are not the ones that the goals name"
            )?,
        }
        write!(f, "; {CATALOG_ROWS} catalog rows, 300 arcsec with the distance rule; {FILTERS} filters")?;
        if self.models.is_empty() {
            write!(f, "; SKIPPED: rows with models, for which ORT_DYLIB_PATH and the files of the models are needed")?;
        }
        Ok(())
    }
}

fn write_filters(folder: &Path, filter: impl Fn(usize) -> Value) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    for number in 0..FILTERS {
        std::fs::write(folder.join(format!("filter_{number:02}.json")), filter(number).to_string())?;
    }
    Ok(folder.to_owned())
}

/// Moves every threshold that an operator compares with: what people change when they take over a filter.
fn vary(value: &mut Value, by: f64) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| match item.as_f64() {
            Some(number) => *item = Value::from(number + by),
            None => vary(item, by),
        }),
        Value::Object(fields) => {
            fields.iter_mut().filter(|(name, _)| *name != "$round").for_each(|(_, field)| vary(field, by));
        }
        _ => {}
    }
}

/// Galaxies all over the sky, three in four with a redshift.
fn write_catalog(folder: &Path) -> anyhow::Result<PathBuf> {
    let column = |name: &str, kind| Column { name: name.to_owned(), kind };
    let columns = vec![
        column("objname", ColumnType::String),
        column("ra", ColumnType::Double),
        column("dec", ColumnType::Double),
        column("z", ColumnType::Double),
    ];
    let spec = CatalogSpec { name: "NED".to_owned(), ra: "ra".to_owned(), dec: "dec".to_owned(), columns };
    let mut writer = CatalogWriter::new(spec)?;
    let mut random = Pcg64Mcg::seed_from_u64(2);
    for number in 0..CATALOG_ROWS {
        let (ra, dec) = (random.random_range(0.0..360.0), random.random_range(-1.0..1.0f64).asin().to_degrees());
        let name = format!("WISEA J{number:012}");
        let z = if number % 4 == 0 { Cell::Missing } else { Cell::Double(random.random_range(0.0..0.3)) };
        writer.push(&[Cell::Text(&name), Cell::Double(ra), Cell::Double(dec), z])?;
    }
    std::fs::create_dir_all(folder)?;
    writer.write(folder, ImportRecord::default())?;
    Ok(folder.to_owned())
}
