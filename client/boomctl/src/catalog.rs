//! `boomctl catalog`: import tables as catalog files and list them. The formats are `boom_store`'s; here is only what one types
//! and reads. Data goes to standard output, talk to standard error.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use boom_store::catalog::{Catalog, CatalogSet, Column, ImportOptions, ImportSummary, import};
use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

/// Catalogs to match alerts against.
#[derive(Debug, Subcommand)]
pub(crate) enum CatalogCommand {
    /// Import a Parquet, CSV or FITS table (the latter two also gzipped) as a catalog.
    Import(ImportArgs),
    /// List the catalogs of a directory.
    List(ListArgs),
}

/// What to import.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The table.
    file: PathBuf,
    /// Name of the catalog: letters, digits, _ and -. Matches are stored under it.
    #[arg(long)]
    name: String,
    /// Column with the right ascension in degrees [default: recognised by its name]
    #[arg(long, value_name = "COLUMN")]
    ra: Option<String>,
    /// Column with the declination in degrees [default: recognised by its name]
    #[arg(long, value_name = "COLUMN")]
    dec: Option<String>,
    /// Columns to keep besides the position, with commas between them [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    columns: Vec<String>,
    /// Directory of the catalog file.
    #[arg(long, value_name = "DIR", default_value = "./catalogs")]
    out: PathBuf,
    /// Print what was done as JSON.
    #[arg(long)]
    json: bool,
}

/// What to list.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Directory of the catalog files.
    #[arg(long, value_name = "DIR", default_value = "./catalogs")]
    catalogs: PathBuf,
    /// Print the list as JSON.
    #[arg(long)]
    json: bool,
}

impl CatalogCommand {
    /// Does what was asked.
    ///
    /// # Errors
    /// When the table or a catalog cannot be read, or the catalog not be written.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Import(args) => args.run(),
            Self::List(args) => args.run(),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}

impl ImportArgs {
    fn run(self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let Self { file, name, ra, dec, columns, out, json } = self;
        let columns =
            columns.into_iter().map(|column| column.trim().to_owned()).filter(|column| !column.is_empty()).collect();
        let summary = import(&file, &ImportOptions { name, ra, dec, columns, out_dir: out })?;
        if json {
            return print_json(&summary_json(&summary));
        }
        talk(&summary, begun.elapsed().as_secs_f64())?;
        writeln!(io::stdout(), "{}", summary.path.display()).context("writing to standard output")
    }
}

fn talk(summary: &ImportSummary, seconds: f64) -> anyhow::Result<()> {
    let mut err = io::stderr().lock();
    let ImportSummary { name, version, rows, bytes, ra, dec, .. } = summary;
    writeln!(err, "{name}: {rows} rows by {ra}, {dec}; {} MB in {seconds:.1} s; version {version}", bytes / 1_000_000)?;
    for column in &summary.skipped {
        writeln!(err, "left out column {}: {}", column.name, column.reason)?;
    }
    if let Some(first) = summary.first_refused {
        let refused = summary.refused;
        writeln!(err, "left out {refused} rows without a possible position, the first is row {first} of the table")?;
    }
    Ok(())
}

fn summary_json(summary: &ImportSummary) -> Value {
    let skipped = summary.skipped.iter().map(|column| json!({"name": column.name, "reason": column.reason}));
    json!({
        "name": summary.name,
        "version": summary.version,
        "path": summary.path,
        "rows": summary.rows,
        "bytes": summary.bytes,
        "ra": summary.ra,
        "dec": summary.dec,
        "columns": columns_json(&summary.columns),
        "skipped_columns": skipped.collect::<Vec<_>>(),
        "refused_rows": summary.refused,
        "first_refused_row": summary.first_refused,
    })
}

fn columns_json(columns: &[Column]) -> Value {
    columns.iter().map(|column| json!({"name": column.name, "type": column.kind})).collect()
}

impl ListArgs {
    fn run(self) -> anyhow::Result<()> {
        let set = CatalogSet::open_dir(&self.catalogs)?;
        if self.json {
            return print_json(&set.iter().map(catalog_json).collect());
        }
        if set.is_empty() {
            writeln!(
                io::stderr(),
                "no catalogs in {}; make one with `boomctl catalog import`",
                self.catalogs.display()
            )?;
            return Ok(());
        }
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["catalog", "rows", "MB", "version", "position", "columns", "from"]);
        for catalog in set.iter() {
            table.add_row(listed(catalog));
        }
        for column in [1, 2] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        writeln!(io::stdout(), "{table}").context("writing to standard output")
    }
}

fn listed(catalog: &Catalog) -> [String; 7] {
    let (ra, dec) = catalog.position_columns();
    [
        catalog.name().to_owned(),
        catalog.len().to_string(),
        format!("{:.1}", catalog.file_bytes() as f64 / 1e6),
        catalog.version().chars().take(12).collect(),
        format!("{ra}, {dec}"),
        catalog.columns().len().to_string(),
        catalog.import_record().source.clone(),
    ]
}

fn catalog_json(catalog: &Catalog) -> Value {
    let (ra, dec) = catalog.position_columns();
    let path: &Path = catalog.path();
    json!({
        "name": catalog.name(),
        "version": catalog.version(),
        "path": path,
        "rows": catalog.len(),
        "bytes": catalog.file_bytes(),
        "ra": ra,
        "dec": dec,
        "columns": columns_json(catalog.columns()),
        "source": catalog.import_record().source,
        "source_rows": catalog.import_record().rows_read,
        "refused_rows": catalog.import_record().rows_refused,
    })
}

fn print_json(value: &Value) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).context("writing to standard output")?;
    writeln!(out).context("writing to standard output")
}
