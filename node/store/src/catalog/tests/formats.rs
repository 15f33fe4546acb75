//! Each format imported from a small file made here.

use std::io::Write;
use std::sync::Arc;

use bson::Bson;
use flate2::{Compression, write::GzEncoder};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, Int32Type, Int64Type,
};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::*;

struct Imported {
    _dir: TempDir,
    summary: ImportSummary,
    catalog: Catalog,
}

fn options(dir: &Path) -> ImportOptions {
    ImportOptions { name: "T".to_owned(), ra: None, dec: None, columns: vec![], out_dir: dir.join("catalogs") }
}

fn try_import(name: &str, bytes: &[u8], change: impl FnOnce(&mut ImportOptions)) -> Result<Imported, ImportError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(name);
    fs::write(&file, bytes).unwrap();
    let mut options = options(dir.path());
    change(&mut options);
    let summary = import(&file, &options)?;
    let catalog = Catalog::open(&summary.path).unwrap();
    catalog.verify().unwrap();
    Ok(Imported { _dir: dir, summary, catalog })
}

fn imported(name: &str, bytes: &[u8]) -> Imported {
    try_import(name, bytes, |_| {}).unwrap()
}

fn refused(name: &str, bytes: &[u8], change: impl FnOnce(&mut ImportOptions)) -> String {
    match try_import(name, bytes, change) {
        Ok(_) => panic!("{name} was imported"),
        Err(error) => error.to_string(),
    }
}

impl Imported {
    /// All rows, ordered by a column.
    fn rows(&self, by: &str) -> Vec<Document> {
        let row = |row| Document::try_from(RawDocument::from_bytes(self.catalog.row(row).unwrap()).unwrap()).unwrap();
        let mut rows: Vec<Document> = (0..self.catalog.len() as u32).map(row).collect();
        rows.sort_by_key(|row| row.get(by).map(Bson::to_string));
        rows
    }

    fn kinds(&self) -> Vec<(&str, ColumnType)> {
        self.catalog.columns().iter().map(|column| (column.name.as_str(), column.kind)).collect()
    }
}

const CSV: &str = "# stars\nid,RA,Dec,mag,n,code,note\na,359.5,-10,1.5,1,007,\nb, -0.5 ,90,,2,010,\"x, y\"\nc,360,0.25,nan,NULL,1,NA\n";

#[test]
fn csv_columns_have_the_type_of_all_their_cells() {
    use ColumnType::{Double, Long, String};
    let table = imported("stars.csv", CSV.as_bytes());
    let kinds = [
        ("id", String),
        ("RA", Double),
        ("Dec", Double),
        ("mag", Double),
        ("n", Long),
        ("code", String),
        ("note", String),
    ];
    assert_eq!(table.kinds(), kinds);
    let expected = [
        doc! {"id": "a", "RA": 359.5, "Dec": -10.0, "mag": 1.5, "n": 1i64, "code": "007"},
        doc! {"id": "b", "RA": 359.5, "Dec": 90.0, "n": 2i64, "code": "010", "note": "x, y"},
        doc! {"id": "c", "RA": 0.0, "Dec": 0.25, "code": "1", "note": "NA"},
    ];
    assert_eq!(table.rows("id"), expected);
    assert_eq!(table.summary.rows, 3);
}

#[test]
fn csv_may_be_gzipped_and_have_other_delimiters() {
    let plain = imported("stars.csv", CSV.as_bytes()).summary.version;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(CSV.as_bytes()).unwrap();
    assert_eq!(imported("stars.csv.gz", &gzip.finish().unwrap()).summary.version, plain);
    let tabs = CSV.replace("\"x, y\"", "x; y").replace(',', "\t").replace("x; y", "x, y");
    assert_eq!(imported("stars.tsv", tabs.as_bytes()).summary.version, plain);
}

#[test]
fn rows_without_a_possible_position_are_counted_and_the_first_is_named() {
    let table = imported("t.csv", b"ra,dec\n1,2\n,3\n4,91\n361,0\nnan,0\n-180,0\n");
    let summary = &table.summary;
    assert_eq!((summary.rows, summary.refused, summary.first_refused), (2, 4, Some(2)));
    assert_eq!((table.catalog.import_record().rows_read, table.catalog.import_record().rows_refused), (6, 4));
    let none = refused("t.csv", b"ra,dec\n1,92\n", |_| {});
    assert!(none.contains("none of its 1 rows has a possible position in ra, dec"), "{none}");
}

#[test]
fn the_position_is_recognised_or_named() {
    let names = |header: &str| {
        let table = imported("t.csv", format!("{header}\n1,2,3,x\n").as_bytes()).summary;
        (table.ra, table.dec)
    };
    assert_eq!(names("x,RAJ2000,DEJ2000,name"), ("RAJ2000".to_owned(), "DEJ2000".to_owned()));
    assert_eq!(names("_RAJ2000,_DEJ2000,n,RAJ2000"), ("_RAJ2000".to_owned(), "_DEJ2000".to_owned()));
    assert_eq!(names("ra_deg,dec_deg,n,name"), ("ra_deg".to_owned(), "dec_deg".to_owned()));
    let named = |options: &mut ImportOptions| {
        (options.ra, options.dec) = (Some("lon".to_owned()), Some("lat".to_owned()));
    };
    assert_eq!(try_import("t.csv", b"lon,lat\n1,2\n", named).unwrap().summary.ra, "lon");
    assert!(refused("t.csv", b"lon,lat\n1,2\n", |_| {}).contains("--ra and --dec (decimal degrees); it has: lon, lat"));
    let text = refused("t.csv", b"lon,lat\n12:30:00,2\n", named);
    assert!(text.contains("column \"lon\" holds no numbers"), "{text}");
}

#[test]
fn columns_are_chosen_and_an_unknown_one_is_named_with_the_nearest() {
    let columns = |columns: &[&str]| {
        let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
        move |options: &mut ImportOptions| options.columns = columns
    };
    let table = try_import("t.csv", CSV.as_bytes(), columns(&["mag"])).unwrap();
    assert_eq!(table.kinds().iter().map(|kind| kind.0).collect::<Vec<_>>(), ["RA", "Dec", "mag"]);
    let message = refused("t.csv", CSV.as_bytes(), columns(&["Mags"]));
    assert!(
        message.ends_with("has no column \"Mags\" (did you mean \"mag\"?); it has: id, RA, Dec, mag, n, code, note"),
        "{message}"
    );
}

#[test]
fn what_is_no_table_says_so() {
    assert!(refused("t.bin", b"\x00\x01\x02\x03", |_| {}).contains("neither Parquet, nor FITS, nor CSV"));
    assert!(refused("t.csv", b"", |_| {}).contains("empty"));
    assert!(refused("t.csv", b"ra,dec\n1,2\n3\n", |_| {}).contains("line: 3"));
    assert!(refused("t.csv", b"ra,dec,n\n1,2,\xff\n", |_| {}).contains("line 2 is not UTF-8"));
    assert!(refused("t.parquet", b"PAR1 and no more", |_| {}).contains("t.parquet"));
    assert!(refused("t.fits", b"SIMPLE  =                    T", |_| {}).contains("no binary table"));
    let missing = import(Path::new("none.csv"), &options(Path::new("."))).unwrap_err().to_string();
    assert!(missing.starts_with("reading none.csv"), "{missing}");
}

const SCHEMA: &str = "message stars {
    optional binary id (UTF8);
    required double ra;
    optional double dec;
    optional boolean good;
    optional int32 n;
    required int32 u (UINT_32);
    optional int64 long;
    optional fixed_len_byte_array(4) raw;
    optional group nested { optional int32 inner; }
    optional int64 __index_level_0__;
}";

fn put<T: DataType>(group: &mut SerializedRowGroupWriter<'_, Vec<u8>>, levels: &[i16], values: &[T::T]) {
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<T>().write_batch(values, Some(levels).filter(|levels| !levels.is_empty()), None).unwrap();
    column.close().unwrap();
}

/// Two groups of two rows; the second row of each has nulls.
fn parquet_file() -> Vec<u8> {
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(WriterProperties::default())).unwrap();
    for first in [0u32, 2] {
        let mut group = file.next_row_group().unwrap();
        let text = |row: u32| ByteArray::from(format!("s{row}").into_bytes());
        put::<ByteArrayType>(&mut group, &[1, 1], &[text(first), text(first + 1)]);
        put::<DoubleType>(&mut group, &[], &[f64::from(first), f64::from(first + 1)]);
        put::<DoubleType>(&mut group, &[1, 1], &[f64::from(first), -0.5]);
        put::<BoolType>(&mut group, &[1, 0], &[true]);
        put::<Int32Type>(&mut group, &[1, 0], &[-7]);
        put::<Int32Type>(&mut group, &[], &[-1, 5]);
        put::<Int64Type>(&mut group, &[0, 1], &[1 << 40]);
        put::<FixedLenByteArrayType>(&mut group, &[0, 0], &[]);
        put::<Int32Type>(&mut group, &[0, 0], &[]);
        put::<Int64Type>(&mut group, &[0, 0], &[]);
        group.close().unwrap();
    }
    file.into_inner().unwrap()
}

#[test]
fn parquet_columns_keep_their_types_and_nulls_are_absent() {
    use ColumnType::{Bool, Double, Int, Long, String};
    let table = imported("stars.parquet", &parquet_file());
    let kinds =
        [("id", String), ("ra", Double), ("dec", Double), ("good", Bool), ("n", Int), ("u", Long), ("long", Long)];
    assert_eq!(table.kinds(), kinds);
    let full = |id: &str, at: f64| doc! {"id": id, "ra": at, "dec": at, "good": true, "n": -7, "u": 4_294_967_295i64};
    let nulls = |id: &str, ra: f64| doc! {"id": id, "ra": ra, "dec": -0.5, "u": 5i64, "long": 1i64 << 40};
    assert_eq!(table.rows("id"), [full("s0", 0.0), nulls("s1", 1.0), full("s2", 2.0), nulls("s3", 3.0)]);
    let skipped: Vec<&str> = table.summary.skipped.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(skipped, ["raw", "nested.inner", "__index_level_0__"]);
}

fn block(cards: &[&str]) -> Vec<u8> {
    let mut block: Vec<u8> = cards.iter().flat_map(|card| format!("{card:<80}").into_bytes()).collect();
    block.resize(block.len().next_multiple_of(2880), b' ');
    block
}

const COLUMNS: [(&str, &str); 9] = [
    ("RAJ2000", "1D"),
    ("DEJ2000", "D"),
    ("name", "6A"),
    ("flag", "L"),
    ("mag", "E"),
    ("short", "I"),
    ("unsigned", "J"),
    ("vector", "2E"),
    ("scaled", "B"),
];

fn fits_file(extra: &[&str]) -> Vec<u8> {
    let image = [
        "SIMPLE  =                    T",
        "BITPIX  =                   16",
        "NAXIS   =                    1",
        "NAXIS1  =                    3",
        "END",
    ];
    let mut bytes = block(&image);
    bytes.extend([0; 2880]);
    let mut cards: Vec<String> = [
        "XTENSION= 'BINTABLE'           / a table",
        "BITPIX  =                    8",
        "NAXIS   =                    2",
    ]
    .map(str::to_owned)
    .to_vec();
    cards.extend([
        format!("NAXIS1  = {}", 8 + 8 + 6 + 1 + 4 + 2 + 4 + 8 + 1),
        "NAXIS2  = 2".to_owned(),
        "TFIELDS = 9".to_owned(),
    ]);
    for (number, (name, form)) in COLUMNS.iter().enumerate() {
        cards.push(format!("{:<8}= '{name:<8}'           / name", format!("TTYPE{}", number + 1)));
        cards.push(format!("{:<8}= '{form:<8}'", format!("TFORM{}", number + 1)));
    }
    cards.extend(
        ["TNULL6  = -1", "TZERO7  = 2147483648 / unsigned", "TSCAL9  = 0.5", "TZERO9  = 1.0D1"].map(str::to_owned),
    );
    cards.extend(extra.iter().map(ToString::to_string));
    cards.push("END".to_owned());
    bytes.extend(block(&cards.iter().map(String::as_str).collect::<Vec<_>>()));
    for (ra, name, flag, mag, short) in
        [(10.0f64, b"SS Cyg", b'T', 12.5f32, 7i16), (350.0, b"x\0junk", 0, f32::NAN, -1)]
    {
        bytes.extend(ra.to_be_bytes());
        bytes.extend((-45.5f64).to_be_bytes());
        bytes.extend(name);
        bytes.push(flag);
        bytes.extend(mag.to_be_bytes());
        bytes.extend(short.to_be_bytes());
        bytes.extend((-2_147_483_647i32).to_be_bytes());
        bytes.extend([0; 8]);
        bytes.push(3);
    }
    bytes
}

#[test]
fn fits_tables_are_read_with_their_nulls_scales_and_zeros() {
    use ColumnType::{Bool, Double, Int, Long, String};
    let table = imported("stars.fits", &fits_file(&[]));
    let kinds =
        [("RAJ2000", Double), ("DEJ2000", Double), ("name", String), ("flag", Bool), ("mag", Double), ("short", Int)];
    assert_eq!(table.kinds()[..6], kinds);
    assert_eq!(table.kinds()[6..], [("unsigned", Long), ("scaled", Double)]);
    let expected = [
        doc! {"RAJ2000": 10.0, "DEJ2000": -45.5, "name": "SS Cyg", "flag": true, "mag": 12.5, "short": 7, "unsigned": 1i64, "scaled": 11.5},
        doc! {"RAJ2000": 350.0, "DEJ2000": -45.5, "name": "x", "unsigned": 1i64, "scaled": 11.5},
    ];
    assert_eq!(table.rows("RAJ2000"), expected);
    assert_eq!(table.summary.skipped[0].name, "vector");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&fits_file(&[])).unwrap();
    assert_eq!(imported("stars.fits.gz", &gzip.finish().unwrap()).summary.version, table.summary.version);
}

#[test]
fn a_fits_table_cut_anywhere_is_an_error() {
    let bytes = fits_file(&[]);
    for length in (0..bytes.len()).step_by(41).chain([bytes.len() - 1]) {
        refused("stars.fits", &bytes[..length], |_| {});
    }
    assert!(refused("stars.fits", &bytes[..bytes.len() - 1], |_| {}).contains("row 2 of 2 cannot be read"));
    let compressed = refused("stars.fits", &fits_file(&["ZTABLE  =                    T"]), |_| {});
    assert!(compressed.contains("tile-compressed"), "{compressed}");
}

/// The General Catalogue of Variable Stars, where the shared data are.
#[test]
fn the_gcvs_is_imported_and_ss_cyg_is_found() {
    let shared = std::env::var_os("BOOM_SHARED");
    let shared = shared.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let file = shared.join("catalogs/gcvs.parquet");
    if !file.exists() {
        eprintln!("SKIPPED: {} is not here: the import of a real catalog is not tested", file.display());
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let summary = import(&file, &options(dir.path())).unwrap();
    let catalog = Catalog::open(&summary.path).unwrap();
    catalog.verify().unwrap();
    let near = matched(&catalog, 325.6782, 43.5862, &rule(5.0));
    // SS Cyg is the dwarf nova that gave its type the name.
    let dwarf_nova = |star: &Document| star.get_str("VarType").is_ok_and(|kind| kind.starts_with("UGSS"));
    assert!(near.len() == 1 && dwarf_nova(&near[0]), "{near:?}, of {summary:?}");
}
