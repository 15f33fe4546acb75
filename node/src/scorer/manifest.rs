//! Model manifests: the TOML file that says which network it is, what goes into it in which order, and what comes out.
//!
//! Reading is a function of the text; all problems of a manifest are told at once, each with its place. Networks are opened
//! elsewhere, and no value of an alert is computed here.

use std::{collections::BTreeMap, fmt, fs, io, path::Path};

use boom_sky::cutout::{Cutout, SIDE};
use toml::{Table, Value};

/// The manifests that come with the broker, by their file's name; the networks do not come with it.
const BUILT_IN: [(&str, &str); 7] = [
    ("acai_h.toml", include_str!("../../../deploy/models/acai_h.toml")),
    ("acai_n.toml", include_str!("../../../deploy/models/acai_n.toml")),
    ("acai_v.toml", include_str!("../../../deploy/models/acai_v.toml")),
    ("acai_o.toml", include_str!("../../../deploy/models/acai_o.toml")),
    ("acai_b.toml", include_str!("../../../deploy/models/acai_b.toml")),
    ("braai.toml", include_str!("../../../deploy/models/braai.toml")),
    ("btsbot.toml", include_str!("../../../deploy/models/btsbot.toml")),
];

/// What one model is.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Where the manifest stands, for messages.
    pub path: String,
    /// The model's name; one of a kind.
    pub name: String,
    /// The survey whose alerts it scores.
    pub survey: String,
    /// Its authors' version.
    pub version: String,
    /// The network's file, relative to a directory of models.
    pub file: String,
    /// SHA-256 of that file in lower-case hexadecimal; any file goes where there is none.
    pub sha256: Option<String>,
    /// The inputs, in the order in which [`super::Scorer::score`] takes them.
    pub inputs: Vec<Input>,
    /// The outputs, in the order in which it gives them.
    pub outputs: Vec<Output>,
    /// Who made it, from what, and other remarks.
    pub provenance: BTreeMap<String, String>,
}

/// One input of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its name in the network.
    pub name: String,
    /// What goes into it.
    pub kind: InputKind,
}

/// What goes into an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputKind {
    /// Stamps, `[N, 63, 63, C]`: the cutouts that make the channels, in order.
    Triplet(Vec<Cutout>),
    /// Numbers, `[N, F]`, in order.
    Features(Vec<Feature>),
}

impl InputKind {
    /// The shape of one row.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Self::Triplet(cutouts) => vec![SIDE, SIDE, cutouts.len()],
            Self::Features(fields) => vec![fields.len()],
        }
    }

    /// The number of values in one row.
    pub fn width(&self) -> usize {
        self.shape().iter().product()
    }
}

/// One output of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its name in the network.
    pub name: String,
    /// The name of the score in the alert's `classifications`.
    pub alias: String,
}

/// One number that goes into a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feature {
    /// A field of the candidate, under the survey's own name.
    Candidate(String),
    /// A value derived from the light curve.
    Derived(Derived),
}

/// The values that are derived from an object's light curve up to the alert, its own detection included; detections of alerts
/// only, no forced photometry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Derived {
    /// Days from the first detection to the alert.
    Age,
    /// Days from the brightest detection to the alert.
    DaysSincePeak,
    /// Days from the first detection to the brightest.
    DaysToPeak,
    /// Magnitude of the brightest detection.
    PeakmagSoFar,
    /// Magnitude of the faintest detection.
    MaxmagSoFar,
    /// Visits without a detection: `ncovhist - ndethist`.
    Nnondet,
}

impl Derived {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Age, Self::DaysSincePeak, Self::DaysToPeak, Self::PeakmagSoFar, Self::MaxmagSoFar, Self::Nnondet];

    /// Its name in a manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::DaysSincePeak => "days_since_peak",
            Self::DaysToPeak => "days_to_peak",
            Self::PeakmagSoFar => "peakmag_so_far",
            Self::MaxmagSoFar => "maxmag_so_far",
            Self::Nnondet => "nnondet",
        }
    }
}

impl Feature {
    /// The feature of this name: a derived value where there is one of that name, else a field of the candidate.
    pub fn named(name: &str) -> Self {
        match Derived::ALL.into_iter().find(|derived| derived.name() == name) {
            Some(derived) => Self::Derived(derived),
            None => Self::Candidate(name.to_owned()),
        }
    }

    /// Its name in a manifest.
    pub fn name(&self) -> &str {
        match self {
            Self::Candidate(name) => name,
            Self::Derived(derived) => derived.name(),
        }
    }
}

/// One thing that is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, and the key in it (`acai_h.toml: inputs[0].kind`).
    pub place: String,
    /// What is wrong and what is allowed.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

impl Manifest {
    /// Reads a manifest that stands at `path`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(path: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            vec![Problem { place: format!("{path}: line {line}"), what: error.message().to_owned() }]
        })?;
        let mut problems = Vec::new();
        let mut root = Section { place: path.to_owned(), dot: ": ", table, problems: &mut problems };
        let manifest = Self {
            path: path.to_owned(),
            name: root.name("name"),
            survey: root.name("survey"),
            version: root.text("version"),
            file: root.file(),
            sha256: root.sha256(),
            inputs: root.sections("inputs", input),
            outputs: root.sections("outputs", output),
            provenance: root.provenance(),
        };
        root.finish();
        if problems.is_empty() { Ok(manifest) } else { Err(problems) }
    }
}

/// The manifests that come with the broker, then those (`*.toml`, in the order of their names) in each of `directories`. One of
/// the same name replaces an earlier one, so that a directory can bring its own version of a model.
pub fn gather(directories: &[impl AsRef<Path>]) -> (Vec<Manifest>, Vec<Problem>) {
    let mut texts: Vec<(String, String)> =
        BUILT_IN.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    let mut problems = Vec::new();
    for directory in directories {
        match read(directory.as_ref()) {
            Ok(read) => texts.extend(read),
            Err(error) => problems.push(Problem {
                place: directory.as_ref().display().to_string(),
                what: format!("cannot read the directory of models: {error}"),
            }),
        }
    }
    let mut manifests: Vec<Manifest> = Vec::new();
    for (path, text) in texts {
        match Manifest::parse(&path, &text) {
            Ok(manifest) => match manifests.iter_mut().find(|known| known.name == manifest.name) {
                Some(known) => *known = manifest,
                None => manifests.push(manifest),
            },
            Err(found) => problems.extend(found),
        }
    }
    (manifests, problems)
}

/// Path and text of each manifest in a directory.
fn read(directory: &Path) -> io::Result<Vec<(String, String)>> {
    let entries: Vec<_> = fs::read_dir(directory)?.collect::<io::Result<_>>()?;
    let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    paths.into_iter().map(|path| Ok((path.display().to_string(), fs::read_to_string(&path)?))).collect()
}

/// A table that is being read: what is asked for is taken out of it, and what is left at the end is unknown.
struct Section<'a> {
    place: String,
    dot: &'static str,
    table: Table,
    problems: &'a mut Vec<Problem>,
}

impl Section<'_> {
    fn problem(&mut self, key: &str, what: impl Into<String>) {
        self.problems.push(Problem { place: format!("{}{}{key}", self.place, self.dot), what: what.into() });
    }

    /// A text that must be there; empty after a problem.
    fn text(&mut self, key: &str) -> String {
        match self.table.remove(key) {
            Some(Value::String(text)) if !text.trim().is_empty() => return text,
            Some(other) => self.problem(key, format!("must be a text that is not empty, not {other}")),
            None => self.problem(key, "is missing"),
        }
        String::new()
    }

    /// A text of letters, digits and underscores that must be there.
    fn name(&mut self, key: &str) -> String {
        let name = self.text(key);
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            self.problem(key, format!("must be made of letters, digits and `_`, not `{name}`"));
        }
        name
    }

    fn file(&mut self) -> String {
        let file = self.text("file");
        let plain = Path::new(&file).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !plain {
            self.problem("file", format!("must be relative to the directory of models, not `{file}`"));
        }
        file
    }

    fn sha256(&mut self) -> Option<String> {
        if !self.table.contains_key("sha256") {
            return None;
        }
        let sum = self.text("sha256").to_ascii_lowercase();
        if !sum.is_empty() && (sum.len() != 64 || !sum.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            self.problem("sha256", "must be 64 hexadecimal digits");
        }
        Some(sum)
    }

    /// A list of texts without repetition that must be there and not be empty.
    fn texts(&mut self, key: &str) -> Vec<String> {
        let Some(value) = self.table.remove(key) else {
            self.problem(key, "is missing");
            return Vec::new();
        };
        let texts: Option<Vec<String>> =
            value.as_array().and_then(|values| values.iter().map(|value| value.as_str().map(str::to_owned)).collect());
        let texts = texts.unwrap_or_default();
        if texts.is_empty() {
            self.problem(key, "must be a list of texts that is not empty");
        }
        for (i, text) in texts.iter().enumerate() {
            if text.is_empty() || texts[..i].contains(text) {
                self.problem(&format!("{key}[{i}]"), format!("`{text}` is empty or stands there twice"));
            }
        }
        texts
    }

    /// A list of tables that must be there and not be empty.
    fn sections<T>(&mut self, key: &str, read: impl Fn(&mut Section<'_>) -> T) -> Vec<T> {
        let value = self.table.remove(key);
        let Some(tables) = value.as_ref().and_then(Value::as_array).filter(|tables| !tables.is_empty()) else {
            self.problem(key, format!("is missing: at least one `[[{key}]]` must be there"));
            return Vec::new();
        };
        let mut all = Vec::new();
        for (i, table) in tables.iter().enumerate() {
            let place = format!("{}{}{key}[{i}]", self.place, self.dot);
            let Some(table) = table.as_table() else {
                self.problems.push(Problem { place, what: format!("must be a table `[[{key}]]`") });
                continue;
            };
            let mut section = Section { place, dot: ".", table: table.clone(), problems: self.problems };
            all.push(read(&mut section));
            section.finish();
        }
        all
    }

    fn provenance(&mut self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        match self.table.remove("provenance") {
            Some(Value::Table(table)) => {
                for (key, value) in table {
                    match value {
                        Value::String(text) => drop(all.insert(key, text)),
                        other => self.problem(&format!("provenance.{key}"), format!("must be a text, not {other}")),
                    }
                }
            }
            Some(_) => self.problem("provenance", "must be a table of texts"),
            None => {}
        }
        all
    }

    /// What has not been taken out is unknown.
    fn finish(&mut self) {
        for key in self.table.keys().cloned().collect::<Vec<_>>() {
            self.problem(&key, "is not a key of a manifest");
        }
    }
}

fn input(section: &mut Section<'_>) -> Input {
    let name = section.text("name");
    let kind = match section.text("kind").as_str() {
        "features" => InputKind::Features(section.texts("fields").iter().map(|name| Feature::named(name)).collect()),
        "triplet" => InputKind::Triplet(cutouts(section)),
        other => {
            if !other.is_empty() {
                section.problem("kind", format!("must be `triplet` or `features`, not `{other}`"));
            }
            // What belongs to the kind cannot be judged.
            section.table.remove("fields");
            section.table.remove("cutouts");
            InputKind::Features(Vec::new())
        }
    };
    Input { name, kind }
}

fn cutouts(section: &mut Section<'_>) -> Vec<Cutout> {
    let mut cutouts = Vec::new();
    for (i, name) in section.texts("cutouts").iter().enumerate() {
        match Cutout::ALL.into_iter().find(|cutout| cutout.name() == name) {
            Some(cutout) => cutouts.push(cutout),
            None => section.problem(
                &format!("cutouts[{i}]"),
                format!("must be `science`, `template` or `difference`, not `{name}`"),
            ),
        }
    }
    cutouts
}

fn output(section: &mut Section<'_>) -> Output {
    Output { name: section.text("name"), alias: section.name("as") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifests_that_come_with_the_broker_are_right() {
        let (manifests, problems) = gather(&[] as &[&Path]);
        assert_eq!(problems, []);
        let names: Vec<&str> = manifests.iter().map(|manifest| manifest.name.as_str()).collect();
        assert_eq!(names, ["acai_h", "acai_n", "acai_v", "acai_o", "acai_b", "braai", "btsbot"]);
        let widths = |i: usize| manifests[i].inputs.iter().map(|input| input.kind.width()).collect::<Vec<_>>();
        assert_eq!(widths(0), [25, 11_907]);
        assert_eq!(widths(5), [11_907]);
        assert_eq!(widths(6), [11_907, 25]);
        assert_eq!(manifests[0].outputs, [Output { name: "score".into(), alias: "acai_h".into() }]);
        assert_eq!(manifests[6].sha256, None);
    }

    #[test]
    fn derived_values_are_told_from_fields_of_the_candidate() {
        assert_eq!(Feature::named("age"), Feature::Derived(Derived::Age));
        assert_eq!(Feature::named("magpsf"), Feature::Candidate("magpsf".into()));
        for derived in Derived::ALL {
            assert_eq!(Feature::named(derived.name()).name(), derived.name());
        }
    }

    #[test]
    fn every_problem_of_a_manifest_is_told_at_once_with_its_place() {
        let text = r#"
            name = "a b"
            version = 3
            file = "../net.onnx"
            sha256 = "abc"
            colour = "blue"
            [[inputs]]
            name = "x"
            kind = "features"
            fields = ["ra", "ra"]
            cutouts = ["science"]
            [[inputs]]
            name = "y"
            kind = "pictures"
            [[inputs]]
            name = "z"
            kind = "triplet"
            cutouts = ["science", "sky"]
            [provenance]
            year = 2020
        "#;
        let problems = Manifest::parse("net.toml", text).unwrap_err();
        let told: Vec<String> = problems.iter().map(Problem::to_string).collect();
        let expected = [
            "net.toml: name: must be made of letters, digits and `_`, not `a b`",
            "net.toml: survey: is missing",
            "net.toml: version: must be a text that is not empty, not 3",
            "net.toml: file: must be relative to the directory of models, not `../net.onnx`",
            "net.toml: sha256: must be 64 hexadecimal digits",
            "net.toml: inputs[0].fields[1]: `ra` is empty or stands there twice",
            "net.toml: inputs[0].cutouts: is not a key of a manifest",
            "net.toml: inputs[1].kind: must be `triplet` or `features`, not `pictures`",
            "net.toml: inputs[2].cutouts[1]: must be `science`, `template` or `difference`, not `sky`",
            "net.toml: outputs: is missing: at least one `[[outputs]]` must be there",
            "net.toml: provenance.year: must be a text, not 2020",
            "net.toml: colour: is not a key of a manifest",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_manifest_that_is_not_toml_is_told_with_its_line() {
        let problems = Manifest::parse("net.toml", "name = \"x\"\nfile = \n").unwrap_err();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].place, "net.toml: line 2");
    }

    #[test]
    fn a_directory_brings_its_own_version_of_a_model() {
        let directory = tempfile::tempdir().unwrap();
        let text = BUILT_IN[5].1.replace("d6_m9", "d7");
        fs::write(directory.path().join("braai.toml"), text).unwrap();
        fs::write(directory.path().join("notes.txt"), "no manifest").unwrap();
        let (manifests, problems) = gather(&[directory.path()]);
        assert_eq!(problems, []);
        assert_eq!(manifests.len(), BUILT_IN.len());
        assert_eq!(manifests[5].version, "d7");
        let (_, problems) = gather(&[directory.path().join("absent")]);
        assert!(problems[0].what.starts_with("cannot read the directory of models"), "{problems:?}");
    }
}
