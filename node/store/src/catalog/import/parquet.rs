//! Parquet tables, read in batches of rows with all wanted columns side by side. Nested columns are set aside.

use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::basic::{ConvertedType, LogicalType, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;

use super::super::error::ImportError;
use super::super::row::{Cell, Column, ColumnType};
use super::{SkippedColumn, Table, usable};

/// Rows that are decoded at a time.
const BATCH: usize = 4096;

pub(super) struct ParquetTable {
    path: PathBuf,
    reader: SerializedFileReader<File>,
    columns: Vec<Column>,
    places: Vec<usize>,
    skipped: Vec<SkippedColumn>,
}

impl ParquetTable {
    pub(super) fn open(path: &Path) -> Result<Self, ImportError> {
        let file = File::open(path).map_err(|source| ImportError::Read { path: path.to_owned(), source })?;
        let reader = SerializedFileReader::new(file).map_err(|error| ImportError::table(path, error))?;
        let (mut columns, mut skipped) = (Vec::new(), Vec::new());
        for (place, descriptor) in reader.metadata().file_metadata().schema_descr().columns().iter().enumerate() {
            match kind(descriptor) {
                Ok(kind) => columns.push((Column { name: descriptor.name().to_owned(), kind }, place)),
                Err(reason) => {
                    skipped.push(SkippedColumn { name: descriptor.path().string(), reason: reason.to_owned() });
                }
            }
        }
        let (columns, places) = usable(columns, &mut skipped);
        Ok(Self { path: path.to_owned(), reader, columns, places, skipped })
    }

    fn read_group(&self, group: &dyn RowGroupReader, wanted: &[usize], each: Each<'_>) -> Result<(), ParquetError> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        let open = |&at: &usize| {
            let place = self.places[at];
            Ok(Batch::new(group.get_column_reader(place)?, is_unsigned(&schema.column(place))))
        };
        let mut batches = wanted.iter().map(open).collect::<Result<Vec<_>, ParquetError>>()?;
        let mut left = usize::try_from(group.metadata().num_rows()).unwrap_or_default();
        while left > 0 {
            let rows = left.min(BATCH);
            for (batch, &at) in batches.iter_mut().zip(wanted) {
                let name = &self.columns[at].name;
                if batch.fill(rows)? != rows {
                    return Err(ParquetError::General(format!("column {name:?} has fewer rows than the table")));
                }
            }
            for row in 0..rows {
                let cells = batches.iter_mut().zip(wanted).map(|(batch, &at)| {
                    let not_text =
                        || ParquetError::General(format!("column {:?} is not UTF-8 text", self.columns[at].name));
                    batch.cell(row).ok_or_else(not_text)
                });
                each(&cells.collect::<Result<Vec<_>, _>>()?);
            }
            left -= rows;
        }
        Ok(())
    }
}

type Each<'a> = &'a mut dyn FnMut(&[Cell<'_>]);

impl Table for ParquetTable {
    fn columns(&self) -> (&[Column], &[SkippedColumn]) {
        (&self.columns, &self.skipped)
    }

    fn read(&mut self, wanted: &[usize], each: Each<'_>) -> Result<(), ImportError> {
        let broken = |error: ParquetError| ImportError::table(&self.path, error);
        for number in 0..self.reader.num_row_groups() {
            let group = self.reader.get_row_group(number).map_err(broken)?;
            self.read_group(&*group, wanted, each).map_err(broken)?;
        }
        Ok(())
    }
}

/// What a column holds for us, or why it is set aside.
fn kind(column: &ColumnDescriptor) -> Result<ColumnType, &'static str> {
    if column.max_rep_level() > 0 || column.path().parts().len() > 1 {
        return Err("it is nested");
    }
    if column.name().starts_with("__index_level_") {
        return Err("it is the row number of a data frame");
    }
    if column.converted_type() == ConvertedType::DECIMAL {
        return Err("decimals are not read");
    }
    match column.physical_type() {
        Physical::BOOLEAN => Ok(ColumnType::Bool),
        Physical::INT32 if is_unsigned(column) => Ok(ColumnType::Long),
        Physical::INT32 => Ok(ColumnType::Int),
        Physical::INT64 if is_unsigned(column) => Ok(ColumnType::Double),
        Physical::INT64 => Ok(ColumnType::Long),
        Physical::FLOAT | Physical::DOUBLE => Ok(ColumnType::Double),
        Physical::BYTE_ARRAY => Ok(ColumnType::String),
        Physical::INT96 => Err("96-bit times are not read"),
        Physical::FIXED_LEN_BYTE_ARRAY => Err("fixed-length bytes are not read"),
    }
}

fn is_unsigned(column: &ColumnDescriptor) -> bool {
    use ConvertedType::{UINT_8, UINT_16, UINT_32, UINT_64};
    matches!(column.converted_type(), UINT_8 | UINT_16 | UINT_32 | UINT_64)
        || matches!(column.logical_type_ref(), Some(LogicalType::Integer(integer)) if !integer.is_signed)
}

/// A batch of one column.
enum Batch {
    Bool(Typed<BoolType>),
    Int(Typed<Int32Type>),
    Unsigned(Typed<Int32Type>),
    Long(Typed<Int64Type>),
    UnsignedLong(Typed<Int64Type>),
    Float(Typed<FloatType>),
    Double(Typed<DoubleType>),
    Text(Typed<ByteArrayType>),
    Unread,
}

impl Batch {
    fn new(reader: ColumnReader, unsigned: bool) -> Self {
        match reader {
            ColumnReader::BoolColumnReader(_) => Self::Bool(Typed::new(reader)),
            ColumnReader::Int32ColumnReader(_) if unsigned => Self::Unsigned(Typed::new(reader)),
            ColumnReader::Int32ColumnReader(_) => Self::Int(Typed::new(reader)),
            ColumnReader::Int64ColumnReader(_) if unsigned => Self::UnsignedLong(Typed::new(reader)),
            ColumnReader::Int64ColumnReader(_) => Self::Long(Typed::new(reader)),
            ColumnReader::FloatColumnReader(_) => Self::Float(Typed::new(reader)),
            ColumnReader::DoubleColumnReader(_) => Self::Double(Typed::new(reader)),
            ColumnReader::ByteArrayColumnReader(_) => Self::Text(Typed::new(reader)),
            ColumnReader::Int96ColumnReader(_) | ColumnReader::FixedLenByteArrayColumnReader(_) => Self::Unread,
        }
    }

    /// Decodes the next rows and says how many there were.
    fn fill(&mut self, rows: usize) -> Result<usize, ParquetError> {
        match self {
            Self::Bool(typed) => typed.fill(rows),
            Self::Int(typed) | Self::Unsigned(typed) => typed.fill(rows),
            Self::Long(typed) | Self::UnsignedLong(typed) => typed.fill(rows),
            Self::Float(typed) => typed.fill(rows),
            Self::Double(typed) => typed.fill(rows),
            Self::Text(typed) => typed.fill(rows),
            Self::Unread => Ok(rows),
        }
    }

    /// The cell of the next row, which is `row` of the batch; nothing when it is text that is not UTF-8.
    fn cell(&mut self, row: usize) -> Option<Cell<'_>> {
        let cell = match self {
            Self::Bool(typed) => typed.next(row).map(|&value| Cell::Bool(value)),
            Self::Int(typed) => typed.next(row).map(|&value| Cell::Int(value.into())),
            Self::Unsigned(typed) => typed.next(row).map(|&value| Cell::Int((value as u32).into())),
            Self::Long(typed) => typed.next(row).map(|&value| Cell::Int(value)),
            Self::UnsignedLong(typed) => typed.next(row).map(|&value| Cell::Double(value as u64 as f64)),
            Self::Float(typed) => typed.next(row).map(|&value| Cell::Double(value.into())),
            Self::Double(typed) => typed.next(row).map(|&value| Cell::Double(value)),
            Self::Text(typed) => {
                let text = typed.next(row).map(ByteArray::data);
                text.map(std::str::from_utf8).transpose().ok()?.map(Cell::Text)
            }
            Self::Unread => None,
        };
        Some(cell.unwrap_or(Cell::Missing))
    }
}

/// The values of one column's batch; values stand close together, `levels` says which rows have one.
struct Typed<T: DataType> {
    reader: ColumnReaderImpl<T>,
    levels: Vec<i16>,
    values: Vec<T::T>,
    next: usize,
}

impl<T: DataType> Typed<T> {
    fn new(reader: ColumnReader) -> Self {
        Self { reader: get_typed_column_reader(reader), levels: Vec::new(), values: Vec::new(), next: 0 }
    }

    fn fill(&mut self, rows: usize) -> Result<usize, ParquetError> {
        self.levels.clear();
        self.values.clear();
        self.next = 0;
        let mut records = 0;
        while records < rows {
            let (more, _, _) =
                self.reader.read_records(rows - records, Some(&mut self.levels), None, &mut self.values)?;
            if more == 0 {
                break;
            }
            records += more;
        }
        Ok(records)
    }

    /// The value of `row`, when it has one. Rows are asked for in order, each once.
    fn next(&mut self, row: usize) -> Option<&T::T> {
        // A column that cannot be null has no levels. Not nested, a level is 1 for a value and 0 for none.
        if self.levels.get(row) == Some(&0) {
            return None;
        }
        self.next += 1;
        self.values.get(self.next - 1)
    }
}
