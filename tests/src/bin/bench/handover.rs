//! What it costs to hand a batch over to another node through Valkey, and from which cost of inference on it is worth it.
//!
//! Real packets go through a pipeline that has no workers of one stage, beside a worker with threads of its own, and through one that hands nothing
//! over (`handover/runs.rs`). Threads are told apart, so CPU time on the network is measured as a difference of the two runs. What making and
//! reading tasks and answers takes is measured on the same alerts alone (`handover/codec.rs`), since it is too little to be seen in such a
//! difference. What follows for networks of other costs is computed here, and printed as computed.

mod codec;
mod runs;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use boom_node::catalogs::Catalogs;
use boom_node::config::Config;
use boom_node::filters;
use boom_node::scorer::{self, Backend, Model};
use boom_node::stage::enrich::Enricher;
use boom_node::stage::filter::Filters;
use boom_plan::quota::Stage;
use boom_store::catalog::CatalogSet;
use boom_tests::servers::{Server, Servers};
use boom_tests::shared::repository;
use comfy_table::Table;

use self::codec::{Alerts, Cost};
use self::runs::{Bench, Ran};
use crate::packets::Packets;
use crate::setting::Setting;

/// Inference, milliseconds of CPU an alert, for which it is computed whether it is worth it.
const INFERENCE_MS: [f64; 6] = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

/// All of one stage, measured: µs of CPU an alert but where something else is said.
#[derive(Debug)]
struct Row {
    name: &'static str,
    /// Nothing handed over.
    base: Ran,
    /// All of the stage handed over.
    over: Ran,
    codec: Cost,
}

impl Row {
    /// What the network takes of the owner: the difference of two runs.
    fn owner_net(&self) -> f64 {
        (self.over.owner_net - self.base.owner_net).max(0.0)
    }

    /// All that handing over takes of the owner.
    fn owner(&self) -> f64 {
        self.codec.make_task + self.codec.read_answer + self.owner_net()
    }

    /// All that it takes of the worker, beside the work.
    fn worker(&self) -> f64 {
        self.codec.read_task + self.codec.make_answer + self.over.worker_net
    }

    /// All that it takes of the fleet, beside the work.
    fn fleet(&self) -> f64 {
        self.owner() + self.worker() + self.over.valkey
    }
}

/// Whether it is worth it to hand over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worth {
    /// The owner spends more on it than it saves.
    No,
    /// The owner has less to do, but less less than all others together have more.
    Idle,
    /// The owner saves more than all that the way takes of the fleet.
    Yes,
}

impl fmt::Display for Worth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::No => "no",
            Self::Idle => "if others are idle",
            Self::Yes => "yes",
        })
    }
}

/// Whether it is worth it, of what the owner saves and what the fleet pays.
fn worth(saves: f64, fleet: f64) -> Worth {
    match saves {
        _ if saves <= 0.0 => Worth::No,
        _ if saves < fleet => Worth::Idle,
        _ => Worth::Yes,
    }
}

/// Runs the bench with so many alerts (2,000 when nothing is said).
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let alerts: usize = crate::count(arguments, "handover [ALERTS]", 2_000)?;
    let folder = tempfile::tempdir().context("making a temporary directory")?;
    let setting = Setting::make(folder.path())?;
    let models = models(&setting)?;
    println!("{setting}\n{alerts} alerts a run; models: {}", names(&models));
    let cores = std::thread::available_parallelism()?;
    println!(
        "{cores} cores, which owner, worker and Valkey share; the owner and the worker have one compute thread each"
    );
    let config = Config::load(None, std::env::vars())?;
    let with_models = Arc::new(Enricher::new(models, catalogs(&setting, &config)?));
    let without = Arc::new(Enricher::new(Vec::new(), catalogs(&setting, &config)?));
    let filters = Arc::new(Filters::new(filters::load(Some(&setting.filters[0]), &config.filters)?));
    let mut packets = Packets::open(setting.packets.as_deref())?;
    let packets: Vec<Vec<u8>> = (0..alerts).map(|_| packets.packet()).collect();
    let servers = Servers::only(&[Server::Valkey])?;
    let bench = Bench { servers: &servers, config: &config, filters: &filters, packets: &packets };

    // The first run warms up what is read from files.
    bench.run(&without, None)?;
    let base = bench.run(&without, None)?;
    let over = |stage| bench.run(&without, Some(stage));
    let [ingest, enrich, filter] = [over(Stage::Ingest)?, over(Stage::Enrich)?, over(Stage::Filter)?];
    let base_models = bench.run(&with_models, None)?;
    let enrich_models = bench.run(&with_models, Some(Stage::Enrich))?;
    let alerts = Alerts::of(&filter.tasks, &packets)?;
    let codec_models = alerts.enrich(&with_models)?;
    let rows = [
        Row { name: "ingest", base: base.clone(), over: ingest, codec: alerts.ingest()? },
        Row { name: "enrich without cutouts", base: base.clone(), over: enrich, codec: alerts.enrich(&without)? },
        Row { name: "enrich with cutouts", base: base_models, over: enrich_models, codec: codec_models },
        Row { name: "filter", base, over: filter, codec: alerts.filter(&filters)? },
    ];
    report(&rows, config.input.batch)
}

fn catalogs(setting: &Setting, config: &Config) -> anyhow::Result<Catalogs> {
    Ok(Catalogs::new(CatalogSet::open_dir(&setting.catalogs)?, &config.crossmatch)?)
}

/// The demo's model, and with ONNX Runtime those of ACAI: all of them look at stamps.
fn models(setting: &Setting) -> anyhow::Result<Vec<Model>> {
    let folders: Vec<PathBuf> =
        std::iter::once(repository().join("deploy/models")).chain(setting.models.clone()).collect();
    let mut loaded = scorer::load(&folders, &Backend::choose(None, std::env::var_os("ORT_DYLIB_PATH")));
    if let Some(problem) = loaded.problems.first() {
        bail!("{problem}");
    }
    loaded.models.retain(|model| ["acai", "boom"].iter().any(|name| model.manifest.name.starts_with(name)));
    if loaded.models.is_empty() { bail!("there is no model that looks at stamps") } else { Ok(loaded.models) }
}

fn names(models: &[Model]) -> String {
    models.iter().map(|model| model.manifest.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn report(rows: &[Row], batch: usize) -> anyhow::Result<()> {
    println!(
        "\nMeasured: what it takes to hand over, beside the work itself; µs of CPU an alert, batches of up to {batch}"
    );
    println!(
        "(make, read: tasks and answers; network: of the owner the difference of two runs, of the worker all of its I/O thread; \
         way: of a batch, from offer to answer without the worker's work, the median)\n{}",
        costs(rows)
    );
    println!("\nMeasured and computed: µs of the owner's CPU an alert, of all stages and the store\n{}", check(rows));
    let [_, without, with, _] = rows else { bail!("four rows are wanted") };
    // The rest of the stage goes with the networks.
    let rest = without.codec.work;
    println!(
        "\nComputed from the first table: a stage enrich of {rest:.0} µs and networks of so many ms of CPU an alert: what the \
         owner saves, what all pay for the way\n{}",
        worths(&[without, with], rest)
    );
    for row in [without, with] {
        let from = |costs: f64| ((costs - rest) / 1e3).max(0.0);
        println!(
            "{}: the owner gains from {:.2} ms on, more than the fleet pays from {:.2} ms on; the fleet pays less than a tenth of the work from {:.1} ms on",
            row.name,
            from(row.owner()),
            from(row.owner() + row.fleet()),
            from(10.0 * row.fleet()),
        );
    }
    Ok(())
}

fn costs(rows: &[Row]) -> Table {
    let mut table = crate::table([
        "stage",
        "work",
        "KB out",
        "KB back",
        "owner: make",
        "read",
        "network",
        "worker: read",
        "make",
        "network",
        "Valkey",
        "all",
        "way, ms",
    ]);
    for row in rows {
        let Row { over, codec, .. } = row;
        let whole = |number: f64| format!("{number:.0}");
        table.add_row([
            row.name.to_owned(),
            whole(codec.work),
            format!("{:.1}", over.bytes_out / 1e3),
            format!("{:.1}", over.bytes_back / 1e3),
            whole(codec.make_task),
            whole(codec.read_answer),
            whole(row.owner_net()),
            whole(codec.read_task),
            whole(codec.make_answer),
            whole(over.worker_net),
            whole(over.valkey),
            whole(row.fleet()),
            format!("{:.1}", over.way_ms),
        ]);
    }
    table
}

fn check(rows: &[Row]) -> Table {
    let mut table = crate::table(["stage", "nothing handed over", "handed over", "saved, measured", "saved, computed"]);
    for row in rows {
        let (here, there) = (row.base.owner(), row.over.owner());
        let computed = row.codec.work - row.owner();
        let all = [here, there, here - there, computed].map(|number| format!("{number:.0}"));
        table.add_row(std::iter::once(row.name.to_owned()).chain(all));
    }
    table
}

fn worths(rows: &[&Row; 2], rest: f64) -> Table {
    let mut table = crate::table([
        "networks, ms",
        "without cutouts: saves, µs",
        "fleet pays",
        "of the work",
        "worth it",
        "with cutouts: saves, µs",
        "fleet pays",
        "of the work",
        "worth it",
    ]);
    for networks in INFERENCE_MS {
        let work = networks * 1e3 + rest;
        let cells = rows.iter().flat_map(|row| {
            let (saves, fleet) = (work - row.owner(), row.fleet());
            let share = format!("{:.0} %", fleet / work * 100.0);
            [format!("{saves:.0}"), format!("{fleet:.0}"), share, worth(saves, fleet).to_string()]
        });
        table.add_row(std::iter::once(networks.to_string()).chain(cells));
    }
    table
}
