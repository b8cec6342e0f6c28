//! One Parquet file: columns by name, type and where their value comes from; rows gathered and written in groups.
//!
//! Columns are flat and may all be null. Memory is bounded by [`GROUP_ROWS`], whatever the number of rows. The file
//! has a temporary name until [`TableWriter::finish`]: under its own name there is a whole file or none. Uses the
//! `parquet` crate without `arrow`: rows come one by one, and its arrays would be one more copy. Called by
//! [`super::ParquetSink`].

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical};
use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use ::parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use ::parquet::schema::types::Type;

/// Rows of a group: the widest table has some 140 columns of 8 bytes and a level, so a full group is about 23 MB.
pub const GROUP_ROWS: usize = 16_384;
/// Added to the name of a file that is not finished.
const UNFINISHED: &str = ".unfinished";

/// Why a table could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory cannot be made.
    #[error("cannot write {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process is at it.
    #[error("{} is being written by another run", path.display())]
    Busy {
        /// The unfinished file.
        path: PathBuf,
    },
    /// The disk is full, mostly.
    #[error("cannot write Parquet")]
    Parquet(#[from] ParquetError),
    /// A row without a value for each column: a mistake in the lists of columns.
    #[error("a row of {cells} cells in a table of {columns} columns")]
    Row {
        /// What it has.
        cells: usize,
        /// What it should have.
        columns: usize,
    },
}

/// What a column holds, and how it is had from a record. `None` is null: not known.
pub(super) enum Get<R> {
    /// Nanoseconds since the epoch, as `TIMESTAMP(NANOS, UTC)`.
    Time(fn(&R) -> Option<u64>),
    /// A whole number, as `INT64`: what is more than fits is as much as fits.
    Count(fn(&R) -> Option<u64>),
    /// Any number, as `DOUBLE`.
    Number(fn(&R) -> Option<f64>),
    /// Yes or no.
    Flag(fn(&R) -> Option<bool>),
    /// Text, as `STRING`.
    Text(fn(&R) -> Option<String>),
}

/// One column over records of type `R`.
pub(super) struct Column<R> {
    /// Its name, with its unit last.
    pub(super) name: &'static str,
    /// What it means: kept in the file, as the value of key `column.NAME`.
    pub(super) about: &'static str,
    /// Its type and value.
    pub(super) get: Get<R>,
}

/// The columns of a table, in order.
#[derive(Default)]
pub(super) struct Shape {
    columns: Vec<(String, &'static str, Kind)>,
}

#[derive(Clone, Copy)]
enum Kind {
    Time,
    Count,
    Number,
    Flag,
    Text,
}

impl<R> Get<R> {
    const fn kind(&self) -> Kind {
        match self {
            Self::Time(_) => Kind::Time,
            Self::Count(_) => Kind::Count,
            Self::Number(_) => Kind::Number,
            Self::Flag(_) => Kind::Flag,
            Self::Text(_) => Kind::Text,
        }
    }
}

impl Shape {
    /// With further columns, their names after `prefix`.
    pub(super) fn with<R>(mut self, prefix: &str, columns: &[Column<R>]) -> Self {
        let named =
            |column: &Column<R>| (format!("{prefix}{}", column.name), column.about, column.get.kind());
        self.columns.extend(columns.iter().map(named));
        self
    }

    /// Names and meanings, in order.
    #[cfg(test)]
    pub(super) fn columns(&self) -> impl Iterator<Item = (&str, &str)> {
        self.columns.iter().map(|(name, about, _)| (name.as_str(), *about))
    }

    fn schema(&self, name: &str) -> Result<Type, ParquetError> {
        let field = |(name, _, kind): &(String, &str, Kind)| kind.field(name).map(Arc::new);
        let fields = self.columns.iter().map(field).collect::<Result<_, _>>()?;
        Type::group_type_builder(name).with_fields(fields).build()
    }

    fn meanings(&self) -> Vec<KeyValue> {
        let meaning = |(name, about, _): &(String, &'static str, Kind)| {
            KeyValue::new(format!("column.{name}"), (*about).to_owned())
        };
        self.columns.iter().map(meaning).collect()
    }
}

impl Kind {
    fn field(self, name: &str) -> Result<Type, ParquetError> {
        let (physical, logical) = match self {
            Self::Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::NANOS))),
            Self::Count => (Physical::INT64, None),
            Self::Number => (Physical::DOUBLE, None),
            Self::Flag => (Physical::BOOLEAN, None),
            Self::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical)
            .build()
    }

    const fn buffer(self) -> Buffer {
        let values = match self {
            Self::Time | Self::Count => Values::Whole(Vec::new()),
            Self::Number => Values::Number(Vec::new()),
            Self::Flag => Values::Flag(Vec::new()),
            Self::Text => Values::Text(Vec::new()),
        };
        Buffer { levels: Vec::new(), values }
    }
}

/// A column's part of the group that is being gathered.
struct Buffer {
    /// Definition level of each row: 1 for a value, 0 for null.
    levels: Vec<i16>,
    values: Values,
}

enum Values {
    Whole(Vec<i64>),
    Number(Vec<f64>),
    Flag(Vec<bool>),
    Text(Vec<ByteArray>),
}

impl Buffer {
    fn push<R>(&mut self, get: &Get<R>, record: Option<&R>) {
        let known = match (get, &mut self.values) {
            (Get::Time(get) | Get::Count(get), Values::Whole(values)) => {
                let whole = |value| i64::try_from(value).unwrap_or(i64::MAX);
                push(values, record.and_then(get).map(whole))
            }
            (Get::Number(get), Values::Number(values)) => push(values, record.and_then(get)),
            (Get::Flag(get), Values::Flag(values)) => push(values, record.and_then(get)),
            (Get::Text(get), Values::Text(values)) => {
                push(values, record.and_then(get).map(|text| ByteArray::from(text.into_bytes())))
            }
            // A column of another kind: rows and shape are made from the same lists.
            _ => false,
        };
        self.levels.push(known.into());
    }

    fn write(&mut self, column: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = Some(self.levels.as_slice());
        match &mut self.values {
            Values::Whole(values) => {
                column.typed::<Int64Type>().write_batch(values, levels, None)?;
                values.clear();
            }
            Values::Number(values) => {
                column.typed::<DoubleType>().write_batch(values, levels, None)?;
                values.clear();
            }
            Values::Flag(values) => {
                column.typed::<BoolType>().write_batch(values, levels, None)?;
                values.clear();
            }
            Values::Text(values) => {
                column.typed::<ByteArrayType>().write_batch(values, levels, None)?;
                values.clear();
            }
        }
        self.levels.clear();
        Ok(())
    }
}

/// Appends a value that is known; whether it is.
fn push<T>(values: &mut Vec<T>, value: Option<T>) -> bool {
    let before = values.len();
    values.extend(value);
    values.len() > before
}

/// A file being written.
pub(super) struct TableWriter {
    path: PathBuf,
    unfinished: PathBuf,
    writer: SerializedFileWriter<File>,
    buffers: Vec<Buffer>,
    /// Rows in the buffers.
    rows: usize,
    /// Cells of the row that is being filled.
    cells: usize,
}

impl TableWriter {
    /// Begins `dir/NAME.parquet` under its temporary name.
    pub(super) fn create(dir: &Path, name: &str, shape: &Shape) -> Result<Self, Error> {
        let path = dir.join(format!("{name}.parquet"));
        let mut unfinished = path.clone().into_os_string();
        unfinished.push(UNFINISHED);
        let unfinished = PathBuf::from(unfinished);
        let file = open(&unfinished)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            // One minimum and maximum a group lets readers skip groups; those of pages are not worth their room.
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_created_by(format!("tidegauge {}", env!("CARGO_PKG_VERSION")))
            .set_key_value_metadata(Some(shape.meanings()))
            .build();
        let writer = SerializedFileWriter::new(file, Arc::new(shape.schema(name)?), Arc::new(properties))?;
        let buffers = shape.columns.iter().map(|(_, _, kind)| kind.buffer()).collect();
        Ok(Self { path, unfinished, writer, buffers, rows: 0, cells: 0 })
    }

    /// The next cells of the row; null where there is no record.
    pub(super) fn cells<R>(&mut self, columns: &[Column<R>], record: Option<&R>) -> &mut Self {
        for (column, buffer) in columns.iter().zip(self.buffers.iter_mut().skip(self.cells)) {
            buffer.push(&column.get, record);
        }
        self.cells += columns.len();
        self
    }

    /// Ends the row; writes the group when it is full.
    pub(super) fn end_row(&mut self) -> Result<(), Error> {
        if self.cells != self.buffers.len() {
            return Err(Error::Row { cells: self.cells, columns: self.buffers.len() });
        }
        self.cells = 0;
        self.rows += 1;
        if self.rows == GROUP_ROWS {
            self.write_group()?;
        }
        Ok(())
    }

    fn write_group(&mut self) -> Result<(), Error> {
        let mut group = self.writer.next_row_group()?;
        for buffer in &mut self.buffers {
            let Some(mut column) = group.next_column()? else { break };
            buffer.write(&mut column)?;
            column.close()?;
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }

    /// Writes what is left, makes it last, and gives the file its name.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        if self.rows != 0 {
            self.write_group()?;
        }
        let file = self.writer.into_inner()?;
        let cannot = |source| Error::File { path: self.path.clone(), source };
        file.sync_all().map_err(cannot)?;
        fs::rename(&self.unfinished, &self.path).map_err(cannot)
    }
}

/// The unfinished file, emptied, for us alone: what a killed run left is taken over, what a running one writes is not.
fn open(path: &Path) -> Result<File, Error> {
    let cannot = |source| Error::File { path: path.to_owned(), source };
    let file = File::options().write(true).create(true).truncate(false).open(path).map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Error::Busy { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => return Err(cannot(source)),
    }
    file.set_len(0).map_err(cannot)?;
    Ok(file)
}
