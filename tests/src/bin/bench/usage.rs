//! What processes have used, out of `/proc`.

/// What a process has used.
#[derive(Debug, Clone, Default)]
pub(crate) struct Used {
    pub(crate) name: String,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_mb: f64,
}

impl Used {
    /// What it has used so far; nothing, if there is no such process.
    pub(crate) fn of(name: &str, process: u32) -> Self {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
        let stat = read("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let time = |field: usize| fields.get(field).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
        let status = read("status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        let peak_mb = peak.and_then(|text| text.trim().parse::<f64>().ok()).unwrap_or_default() / 1024.0;
        Self { name: name.to_owned(), cpu_seconds: (time(11) + time(12)) / ticks, peak_mb }
    }
}
