//! Configuration: what each key means and which values are possible. How the layers come together is the matter of `boom_client::settings`;
//! nothing here opens what it names.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use boom_client::kafka::Connection;
use boom_client::secret::Secret;
use boom_client::settings::{Problems, Settings};
use boom_plan::coordinator::Config as Control;
use boom_plan::id::{NodeId, StreamId};
use boom_plan::lease::Timing;
use boom_plan::orders::{Bounds, Limits, Start, Stream};
use boom_plan::quota::{Shares, Stage};
use boom_plan::scale::{Placement, Policy, Wishes};
use boom_plan::time::Span;
use serde::Deserialize;

/// The defaults, as a file that one can copy and change.
pub const DEFAULT: &str = include_str!("default.toml");

/// Variables with this prefix replace what the files say.
const PREFIX: &str = "BOOM_COORDINATOR__";

/// The configuration of a coordinator.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its name.
    pub name: String,
    /// What nodes and operators speak.
    pub grpc: Grpc,
    /// What monitoring speaks.
    pub http: Http,
    /// Where the election and the plan are.
    pub etcd: Etcd,
    /// The Kafka clusters that alerts come from.
    pub kafka: BTreeMap<String, Connection>,
    /// The streams.
    pub streams: BTreeMap<StreamId, Stream>,
    /// What the control loop is told.
    pub control: Control,
}

/// The gRPC server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Grpc {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where others reach it; empty: made of what it listens on.
    pub advertise: String,
    /// Sessions of nodes.
    pub max_sessions: usize,
    /// Connections of anybody.
    pub max_connections: usize,
    /// Bytes of one message that comes in.
    pub max_message_bytes: usize,
    /// TLS.
    #[serde(default)]
    pub tls: Option<ServerTls>,
    /// What clients have to show.
    #[serde(default)]
    pub token: Option<Secret>,
}

/// TLS of the server, all files PEM.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// Its certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who signs the certificates that clients have to show; none: they show none.
    #[serde(default)]
    pub client_authority: Option<PathBuf>,
}

/// The HTTP server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Http {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where Prometheus reaches it; empty: made of what it listens on.
    pub advertise: String,
}

/// How etcd is reached.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Etcd {
    /// Its members, as URLs.
    pub endpoints: Vec<String>,
    /// What all keys begin with.
    pub prefix: String,
    /// How long the leader's lease lasts, seconds.
    pub lease_s: u64,
    /// Who we are, if it asks.
    #[serde(default)]
    pub user: Option<String>,
    /// The password of that user.
    #[serde(default)]
    pub password: Option<Secret>,
    /// TLS.
    #[serde(default)]
    pub tls: Option<ClientTls>,
}

/// TLS to etcd, all files PEM.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientTls {
    /// The certificates to trust.
    pub authority: PathBuf,
    /// Our certificate.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// Its key.
    #[serde(default)]
    pub key: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStream {
    survey: String,
    cluster: String,
    topics: String,
    start: String,
    #[serde(default)]
    paused: bool,
    #[serde(default)]
    weight: Option<u32>,
    #[serde(default)]
    bounds: BTreeMap<Stage, RawLimits>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct RawLimits {
    #[serde(default)]
    min: u32,
    #[serde(default)]
    max: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Labels {
    #[serde(default)]
    requires: BTreeSet<String>,
    #[serde(default)]
    prefers: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
struct Leases {
    report_ms: u64,
    suspect_ms: u64,
    lease_ms: u64,
    stop_early_ms: u64,
    margin_ms: u64,
}

#[derive(Debug, Deserialize)]
struct Scaling {
    follows: bool,
    target_ms: u64,
    rest_ms: u64,
    step_ms: u64,
    yields_ms: u64,
    patience_ms: u64,
    drain_ms: u64,
}

#[derive(Debug, Deserialize)]
struct Planning {
    list_topics_ms: u64,
    topic_grace_ms: u64,
    pace_ms: u64,
}

impl Config {
    /// The configuration from a file (where it stands and its text) and the environment.
    ///
    /// # Errors
    /// All that is wrong with either, each with its place.
    pub fn load(
        file: Option<(&Path, &str)>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        let mut settings = Settings::layered(DEFAULT, file, PREFIX, environment);
        let name: Option<String> = settings.section("name");
        let (grpc, http, etcd) = (settings.section("grpc"), settings.section("http"), settings.section("etcd"));
        let kafka: Option<BTreeMap<String, Connection>> = settings.section("kafka");
        let streams = settings.section("streams").map(|raw| streams(raw, kafka.as_ref(), &mut settings.problems));
        let control = control(&mut settings);
        let name = name.map(|name| if name.is_empty() { host_name() } else { name });
        if let Some(Err(error)) = name.as_ref().map(|name| name.parse::<NodeId>()) {
            settings.problems.push(format!("`name`: {error}"));
        }
        grpc.iter().for_each(|grpc| check_grpc(grpc, &mut settings));
        etcd.iter().for_each(|etcd| check_etcd(etcd, &mut settings));
        kafka.iter().flatten().for_each(|(name, connection)| check_kafka(name, connection, &mut settings));
        let whole = (name, grpc, http, etcd, kafka, streams);
        settings.finish()?;
        match whole {
            (Some(name), Some(grpc), Some(http), Some(etcd), Some(kafka), Some(streams)) => {
                Ok(Self { name, grpc, http, etcd, kafka, streams, control })
            }
            _ => Err(Problems(vec!["a section is missing, though the defaults have them all".to_owned()])),
        }
    }
}

fn check_grpc(grpc: &Grpc, settings: &mut Settings) {
    settings.range("grpc.max_sessions", grpc.max_sessions, 1, 100_000);
    settings.range("grpc.max_connections", grpc.max_connections, 16, 100_000);
    settings.range("grpc.max_message_bytes", grpc.max_message_bytes, 1 << 16, 1 << 28);
    if !grpc.listen.ip().is_loopback() && (grpc.tls.is_none() || grpc.token.is_none()) {
        let missing = match (&grpc.tls, &grpc.token) {
            (None, None) => "`grpc.tls` and `grpc.token`",
            (None, Some(_)) => "`grpc.tls`",
            _ => "`grpc.token`",
        };
        let listen = grpc.listen;
        settings.problems.push(format!(
            "`grpc.listen` is {listen}, where others reach it: set {missing} too, or listen on loopback, such as 127.0.0.1:{}",
            listen.port()
        ));
    }
}

fn check_etcd(etcd: &Etcd, settings: &mut Settings) {
    settings.range("etcd.lease_s", etcd.lease_s, 2, 60);
    if etcd.endpoints.is_empty() {
        settings
            .problems
            .push("`etcd.endpoints` is empty: name the members of etcd, such as http://127.0.0.1:2379".to_owned());
    }
    for endpoint in &etcd.endpoints {
        let is_plain = endpoint.strip_prefix("http://").is_some_and(|host| !host.is_empty());
        let is_tls = endpoint.strip_prefix("https://").is_some_and(|host| !host.is_empty());
        if !is_plain && !is_tls {
            settings
                .problems
                .push(format!("`etcd.endpoints` has `{endpoint}`: an URL such as http://127.0.0.1:2379 is wanted"));
        } else if is_tls != etcd.tls.is_some() {
            let what = if is_tls { "is not there, which says whom to trust" } else { "is there" };
            settings.problems.push(format!("`etcd.endpoints` has `{endpoint}`, but `etcd.tls` {what}"));
        }
    }
    if etcd.user.is_some() != etcd.password.is_some() {
        settings.problems.push("`etcd.user` and `etcd.password` go together: one of them is missing".to_owned());
    }
    if etcd.tls.as_ref().is_some_and(|tls| tls.certificate.is_some() != tls.key.is_some()) {
        settings.problems.push("`etcd.tls`: `certificate` and `key` go together: one of them is missing".to_owned());
    }
}

fn check_kafka(name: &str, connection: &Connection, settings: &mut Settings) {
    if connection.brokers.trim().is_empty() {
        settings.problems.push(format!("`kafka.{name}.brokers` is empty: HOST:PORT,… of some brokers is wanted"));
    }
}

fn streams(
    raw: BTreeMap<String, RawStream>,
    kafka: Option<&BTreeMap<String, Connection>>,
    problems: &mut Vec<String>,
) -> BTreeMap<StreamId, Stream> {
    let mut streams = BTreeMap::new();
    for (name, raw) in raw {
        let before = problems.len();
        let mut wrong = |key: &str, why: String| problems.push(format!("`streams.{name}{key}`: {why}"));
        let id = name.parse::<StreamId>().map_err(|error| wrong("", error.to_string()));
        let topics = raw.topics.parse().map_err(|error: boom_plan::Error| wrong(".topics", error.to_string()));
        let start = start(&raw.start).map_err(|why| wrong(".start", why));
        let limits = |(&stage, &RawLimits { min, max }): (&Stage, &RawLimits)| (stage, Limits { min, max });
        let bounds = Bounds { weight: raw.weight, stages: raw.bounds.iter().map(limits).collect() };
        if let Err(error) = bounds.check() {
            wrong("", error.to_string());
        }
        if raw.survey.is_empty() {
            wrong(".survey", "it is empty".to_owned());
        }
        if let Some(kafka) = kafka.filter(|kafka| !kafka.contains_key(&raw.cluster)) {
            let known: Vec<_> = kafka.keys().map(String::as_str).collect();
            wrong(
                ".cluster",
                format!("there is no `[kafka.{}]` (there are: {})", raw.cluster, or_none(&known.join(", "))),
            );
        }
        if let (Ok(id), Ok(topics), Ok(start), true) = (id, topics, start, problems.len() == before) {
            let (survey, cluster) = (raw.survey, raw.cluster);
            streams.insert(id, Stream { survey, cluster, topics, start, paused: raw.paused, bounds, replay: None });
        }
    }
    problems.extend(meetings(&streams));
    streams
}

/// Streams of one Kafka cluster that have a topic in common: each of its alerts would be one of both.
fn meetings(streams: &BTreeMap<StreamId, Stream>) -> Vec<String> {
    let pairs = streams.iter().enumerate().flat_map(|(at, one)| streams.iter().skip(at + 1).map(move |two| (one, two)));
    let meets = |((_, one), (_, two)): &((_, &Stream), (_, &Stream))| {
        one.cluster == two.cluster && one.topics.meets(&two.topics)
    };
    let say = |((one, stream), (two, other)): ((&StreamId, &Stream), (&StreamId, &Stream))| {
        format!(
            "`streams.{two}.topics`: `{}` and the `{}` of `streams.{one}` have topics in common: give each of them to one stream",
            other.topics, stream.topics
        )
    };
    pairs.filter(meets).map(say).collect()
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

fn start(text: &str) -> Result<Start, String> {
    match text {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        time => {
            let parsed =
                time.parse::<jiff::Timestamp>().ok().and_then(|time| u64::try_from(time.as_millisecond()).ok());
            parsed.map(Start::At).ok_or_else(|| {
                format!("`{time}` is neither `earliest`, `latest` nor a time from 1970 on such as 2026-11-25T00:00:00Z")
            })
        }
    }
}

fn control(settings: &mut Settings) -> Control {
    let mut control = Control::default();
    if let Some(leases) = settings.section::<Leases>("leases") {
        control.timing = Timing {
            report: Span(leases.report_ms),
            suspect: Span(leases.suspect_ms),
            lease: Span(leases.lease_ms),
            stop_early: Span(leases.stop_early_ms),
            margin: Span(leases.margin_ms),
        };
        settings.problems.extend(control.timing.check().err().map(|error| format!("`leases`: {error}")));
    }
    if let Some(planning) = settings.section::<Planning>("planning") {
        settings.range("planning.list_topics_ms", planning.list_topics_ms, 100, 600_000);
        settings.range("planning.topic_grace_ms", planning.topic_grace_ms, planning.list_topics_ms * 2, 3_600_000);
        settings.range("planning.pace_ms", planning.pace_ms, 10, 60_000);
        control.list = Span(planning.list_topics_ms);
        control.topic_grace = Span(planning.topic_grace_ms);
        control.pace = Span(planning.pace_ms);
    }
    if let Some(scaling) = settings.section::<Scaling>("scaling") {
        settings.range("scaling.target_ms", scaling.target_ms, 10, 60_000);
        settings.range("scaling.rest_ms", scaling.rest_ms, 1_000, 3_600_000);
        settings.range("scaling.step_ms", scaling.step_ms, 1_000, scaling.rest_ms);
        settings.range("scaling.yields_ms", scaling.yields_ms, 1_000, scaling.rest_ms);
        settings.range("scaling.patience_ms", scaling.patience_ms, 1_000, 3_600_000);
        settings.range("scaling.drain_ms", scaling.drain_ms, 1_000, 86_400_000);
        control.policy = Policy {
            follows: scaling.follows,
            target: Span(scaling.target_ms),
            rest: Span(scaling.rest_ms),
            step: Span(scaling.step_ms),
            yields: Span(scaling.yields_ms),
            patience: Span(scaling.patience_ms),
            drain: Span(scaling.drain_ms),
            ..control.policy
        };
    }
    if let Some(shares) = settings.section::<BTreeMap<Stage, u32>>("shares") {
        control.policy.shares = Shares(shares);
    }
    if let Some(placement) = settings.section::<BTreeMap<Stage, Labels>>("placement") {
        let wishes =
            placement.into_iter().map(|(stage, Labels { requires, prefers })| (stage, Wishes { requires, prefers }));
        control.policy.placement = Placement(wishes.filter(|(_, wishes)| *wishes != Wishes::default()).collect());
    }
    control
}

impl Etcd {
    /// How long the leader's lease lasts.
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_s)
    }
}

/// The name of this host, without its domain.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.split('.').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let pairs = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(Some((Path::new("boom.toml"), text)), pairs).map_err(|Problems(problems)| problems)
    }

    #[test]
    fn the_defaults_are_whole_and_serve_loopback() {
        let config = load("", &[]).unwrap();
        assert!(config.grpc.listen.ip().is_loopback() && config.http.listen.ip().is_loopback());
        assert_eq!(config.control.timing, Timing::default());
        assert_eq!(config.control.policy, Policy::default());
        assert!(!config.name.is_empty() && config.streams.is_empty());
    }

    #[test]
    fn clusters_and_streams_are_read_and_variables_go_before_the_file() {
        let text = "[kafka.ipac]\nbrokers = 'a:1'\n[streams.ztf]\nsurvey = 'ZTF'\ncluster = 'ipac'\n\
            topics = 'ztf_{date}'\nstart = '2026-11-25T00:00:00Z'";
        let variables = [
            ("BOOM_COORDINATOR__KAFKA__IPAC__BROKERS", "b:2"),
            ("BOOM_COORDINATOR__NAME", "c1"),
            ("BOOM_COORDINATOR__ETCD__ENDPOINTS", "['http://a:1', 'http://b:2']"),
        ];
        let config = load(text, &variables).unwrap();
        assert_eq!((config.kafka["ipac"].brokers.as_str(), config.name.as_str()), ("b:2", "c1"));
        assert_eq!(config.etcd.endpoints, ["http://a:1", "http://b:2"]);
        let stream = &config.streams[&"ztf".parse().unwrap()];
        assert_eq!((stream.start, stream.paused), (Start::At(1_795_564_800_000), false));
    }

    #[test]
    fn stages_are_placed_by_labels_and_streams_bounded() {
        let text = "[placement.enrich]\nrequires = ['gpu']\n[placement.filter]\nprefers = ['store']\n[kafka.ipac]\nbrokers = 'a:1'\n\
            [streams.ztf]\nsurvey = 'ZTF'\ncluster = 'ipac'\ntopics = 't'\nstart = 'latest'\nweight = 3\n\
            bounds = { enrich = { min = 1, max = 8 }, filter = { max = 2 } }";
        let config = load(text, &[]).unwrap();
        let wishes = |requires: &[&str], prefers: &[&str]| {
            let [requires, prefers] =
                [requires, prefers].map(|labels| labels.iter().map(ToString::to_string).collect());
            Wishes { requires, prefers }
        };
        let placement = [(Stage::Enrich, wishes(&["gpu"], &[])), (Stage::Filter, wishes(&[], &["store"]))];
        assert_eq!(config.control.policy.placement, Placement(placement.into()));
        let share = config.streams[&"ztf".parse().unwrap()].bounds.whole();
        assert_eq!(share.to_string(), "weight 3, enrich 1 to 8, filter at most 2");
        let wrong = "[placement.emit]\nrequires = []\n";
        assert!(load(wrong, &[]).unwrap_err()[0].contains("`placement`: unknown variant `emit`"));
        assert!(load("[placement.enrich]\nneeds = []\n", &[]).unwrap_err()[0].contains("needs"));
        let wrong = text.replace("max = 8", "max = 0").replace("weight = 3", "weight = 0");
        assert!(load(&wrong, &[]).unwrap_err()[0].contains("`streams.ztf`: bounds can not be used: a weight of 0"));
    }

    #[test]
    fn all_problems_are_listed_at_once_with_their_place_and_what_to_do() {
        let text = "colour = 1\nname = 'a b'\n[grpc]\nlisten = '0.0.0.0:7700'\nmax_sessions = 0\nspeed = 1\n\
            [etcd]\nendpoints = ['https://a:1', 'b:2']\nuser = 'boom'\nlease_s = 1\n\
            [kafka.ipac]\nbrokers = ''\n[streams.ztf]\nsurvey = ''\ncluster = 'ipak'\ntopics = 'a{'\nstart = 'now'\n\
            [leases]\nlease_ms = 100\n[planning]\npace_ms = 0";
        let all = load(text, &[]).unwrap_err().join("\n");
        for part in [
            "`colour` is not known",
            "`name`: node `a b`",
            "`grpc.listen` is 0.0.0.0:7700, where others reach it: set `grpc.tls` and `grpc.token` too",
            "`grpc.max_sessions` is 0: 1 to",
            "`grpc.speed` is not known",
            "`https://a:1`, but `etcd.tls` is not there",
            "`b:2`: an URL such as",
            "`etcd.user` and `etcd.password` go together",
            "`etcd.lease_s` is 1: 2 to",
            "`kafka.ipac.brokers` is empty",
            "`streams.ztf.survey`: it is empty",
            "`streams.ztf.cluster`: there is no `[kafka.ipak]` (there are: ipac)",
            "`streams.ztf.topics`: topic pattern `a{` can not be used",
            "`streams.ztf.start`: `now` is neither",
            "`leases`: lease settings can not be used",
            "`planning.pace_ms` is 0",
        ] {
            assert!(all.contains(part), "{part} in\n{all}");
        }
    }

    #[test]
    fn a_topic_of_a_cluster_is_of_one_stream() {
        let two = |clusters: [&str; 2], topics: [&str; 2]| {
            let stream = |at: usize| {
                let (cluster, topics) = (clusters[at], topics[at]);
                format!(
                    "[streams.s{at}]\nsurvey = 'ZTF'\ncluster = '{cluster}'\ntopics = '{topics}'\nstart = 'latest'\n"
                )
            };
            load(&format!("[kafka]\na.brokers = 'a:1'\nb.brokers = 'b:1'\n{}{}", stream(0), stream(1)), &[])
        };
        two(["a", "b"], ["ztf_{date}", "ztf_{date}"]).unwrap();
        two(["a", "a"], ["ztf_{date}_programid1", "ztf_{date}_programid{2,3}"]).unwrap();
        let problems = two(["a", "a"], ["ztf_{date}_programid{1,2}", "ztf_{date}_programid{2,3}"]).unwrap_err();
        let problem = "`streams.s1.topics`: `ztf_{date}_programid{2,3}` and the `ztf_{date}_programid{1,2}` of `streams.s0` have topics in common";
        assert!(problems[0].contains(problem), "{problems:?}");
    }

    #[test]
    fn beyond_loopback_tls_and_a_token_are_needed_both() {
        let tls = "tls = { certificate = 'a', key = 'b' }\n";
        let token = "token = { file = 'c' }\n";
        let with = |more: &str| load(&format!("[grpc]\nlisten = '[::]:7700'\n{more}"), &[]);
        assert!(with(tls).unwrap_err()[0].contains("set `grpc.token` too"));
        assert!(with(token).unwrap_err()[0].contains("set `grpc.tls` too"));
        with(&format!("{tls}{token}")).unwrap();
    }
}
