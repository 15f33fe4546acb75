//! The collection `filters`, as it is read. What its documents mean is the matter of `crate::filters`.

use bson::Document;

use super::command::find;
use super::{Error, MongoDb, names};

impl MongoDb {
    /// All documents of the collection of filters.
    ///
    /// # Errors
    /// MongoDB refuses the query, or it is to stop.
    pub async fn filters(&self) -> Result<Vec<Document>, Error> {
        let query = find(names::FILTERS, |_| {}, &[], None);
        let found = self.0.connection.find("reading filters", &query).await?;
        let refused = |reason: String| Error::Refused { doing: "reading filters".to_owned(), reason };
        found.iter().map(|filter| Document::try_from(&**filter).map_err(|error| refused(error.to_string()))).collect()
    }
}
