//! The catalogs of the simulated sky as catalog files, so that the demo's crossmatch runs as with any other catalog.

use std::path::Path;

use anyhow::Context as _;
use boom_store::catalog::{CatalogSpec, CatalogWriter, Cell, Column, ColumnType, ImportRecord};

use crate::source::simulator::{CatalogValue, SimulatedCatalog};

/// Writes one catalog into `directory`.
///
/// # Errors
/// The disk fails.
pub fn write(catalog: &SimulatedCatalog, directory: &Path) -> anyhow::Result<()> {
    let spec = CatalogSpec {
        name: catalog.name.to_owned(),
        ra: "ra".to_owned(),
        dec: "dec".to_owned(),
        columns: columns(catalog),
    };
    let mut writer = CatalogWriter::new(spec)?;
    for row in &catalog.rows {
        let mut cells = vec![Cell::Text(&row.name), Cell::Double(row.ra), Cell::Double(row.dec)];
        cells.extend(row.values.iter().map(|value| match value {
            CatalogValue::Number(number) => Cell::Double(*number),
            CatalogValue::Text(text) => Cell::Text(text),
        }));
        writer.push(&cells).with_context(|| format!("the simulated {} {}", catalog.name, row.name))?;
    }
    writer.write(directory, ImportRecord::default())?;
    Ok(())
}

fn columns(catalog: &SimulatedCatalog) -> Vec<Column> {
    let column = |name: &str, kind| Column { name: name.to_owned(), kind };
    let mut columns =
        vec![column("name", ColumnType::String), column("ra", ColumnType::Double), column("dec", ColumnType::Double)];
    for (index, name) in catalog.columns.iter().enumerate() {
        let text = catalog.rows.iter().any(|row| matches!(row.values.get(index), Some(CatalogValue::Text(_))));
        columns.push(column(name, if text { ColumnType::String } else { ColumnType::Double }));
    }
    columns
}
