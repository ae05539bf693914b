//! Verb classes: what a call does, whatever the API family (the classes that matter when data is stolen).

/// The class of a call. The order is part of the store's format: append only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Action {
    /// None of the below.
    #[default]
    Other,
    /// List all objects.
    DescribeGlobal,
    /// Describe one object.
    DescribeObject,
    /// First page of a query.
    Query,
    /// A follow-up page of a query.
    QueryMore,
    /// A query that includes deleted and archived rows.
    QueryAll,
    /// Full-text search.
    Search,
    /// Read of records by id.
    CrudRead,
    /// Create or change of records.
    CrudWrite,
    /// Delete of records.
    CrudDelete,
    /// Bulk job created or changed.
    BulkCreate,
    /// Bulk job polled.
    BulkPoll,
    /// Bulk result fetched.
    BulkResult,
    /// Bulk job deleted.
    BulkDelete,
    /// Composite request.
    Composite,
    /// Read of the organisation's limits.
    Limits,
    /// Metadata and tooling.
    MetadataTooling,
    /// Login, logout, token.
    Auth,
}

impl Action {
    /// All classes, by number.
    pub const ALL: [Self; 18] = [
        Self::Other,
        Self::DescribeGlobal,
        Self::DescribeObject,
        Self::Query,
        Self::QueryMore,
        Self::QueryAll,
        Self::Search,
        Self::CrudRead,
        Self::CrudWrite,
        Self::CrudDelete,
        Self::BulkCreate,
        Self::BulkPoll,
        Self::BulkResult,
        Self::BulkDelete,
        Self::Composite,
        Self::Limits,
        Self::MetadataTooling,
        Self::Auth,
    ];

    /// The snake-case name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::DescribeGlobal => "describe_global",
            Self::DescribeObject => "describe_object",
            Self::Query => "query",
            Self::QueryMore => "query_more",
            Self::QueryAll => "query_all",
            Self::Search => "search",
            Self::CrudRead => "crud_read",
            Self::CrudWrite => "crud_write",
            Self::CrudDelete => "crud_delete",
            Self::BulkCreate => "bulk_create",
            Self::BulkPoll => "bulk_poll",
            Self::BulkResult => "bulk_result",
            Self::BulkDelete => "bulk_delete",
            Self::Composite => "composite",
            Self::Limits => "limits",
            Self::MetadataTooling => "metadata_tooling",
            Self::Auth => "auth",
        }
    }

    /// The class with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }

    /// Reads data.
    pub fn is_read(self) -> bool {
        matches!(
            self,
            Self::Query | Self::QueryMore | Self::QueryAll | Self::Search | Self::CrudRead | Self::BulkResult
        )
    }

    /// Creates or changes.
    pub fn is_write(self) -> bool {
        matches!(self, Self::CrudWrite | Self::BulkCreate)
    }

    /// Deletes.
    pub fn is_delete(self) -> bool {
        matches!(self, Self::CrudDelete | Self::BulkDelete)
    }

    /// Lists or describes objects.
    pub fn is_describe(self) -> bool {
        matches!(self, Self::DescribeGlobal | Self::DescribeObject)
    }

    /// Belongs to a bulk job.
    pub fn is_bulk(self) -> bool {
        matches!(self, Self::BulkCreate | Self::BulkPoll | Self::BulkResult | Self::BulkDelete)
    }
}
