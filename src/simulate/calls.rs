//! The calls that occur: family, method, resource path and success status of each.

use super::text::{base62, id_suffix};

/// One kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Call {
    Query,
    QueryMore,
    QueryAll,
    Search,
    DescribeGlobal,
    Describe,
    Limits,
    Get,
    Create,
    Update,
    Upsert,
    Composite,
    CompositeBatch,
    UiRecord,
    UiObject,
    Report,
    ToolingQuery,
    ToolingGet,
    ApexRest,
    JobCreate,
    JobPoll,
    JobResult,
    JobDelete,
    IngestCreate,
    IngestUpload,
    IngestClose,
    IngestPoll,
    SoapLogin,
    SoapQuery,
    SoapQueryMore,
    SoapGetUpdated,
    SoapGetDeleted,
    SoapDescribe,
    SoapDescribeGlobal,
    SoapUpsert,
    SoapTimestamp,
    SoapDeploy,
    SoapDeployStatus,
    SoapListMetadata,
}

/// What `API_FAMILY` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Rest,
    Soap,
    Bulk,
    ApexRest,
}

impl Family {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rest => "REST",
            Self::Soap => "SOAP",
            Self::Bulk => "Bulk",
            Self::ApexRest => "ApexREST",
        }
    }
}

impl Call {
    pub(super) fn family(self) -> Family {
        use Call as C;
        match self {
            C::ApexRest => Family::ApexRest,
            C::JobCreate
            | C::JobPoll
            | C::JobResult
            | C::JobDelete
            | C::IngestCreate
            | C::IngestUpload
            | C::IngestClose
            | C::IngestPoll => Family::Bulk,
            _ if self.soap_method().is_some() => Family::Soap,
            _ => Family::Rest,
        }
    }

    fn soap_method(self) -> Option<&'static str> {
        use Call as C;
        Some(match self {
            C::SoapLogin => "login",
            C::SoapQuery => "query",
            C::SoapQueryMore => "queryMore",
            C::SoapGetUpdated => "getUpdated",
            C::SoapGetDeleted => "getDeleted",
            C::SoapDescribe => "describeSObjects",
            C::SoapDescribeGlobal => "describeGlobal",
            C::SoapUpsert => "upsert",
            C::SoapTimestamp => "getServerTimestamp",
            C::SoapDeploy => "deploy",
            C::SoapDeployStatus => "checkDeployStatus",
            C::SoapListMetadata => "listMetadata",
            _ => return None,
        })
    }

    /// Empty for SOAP.
    pub(super) fn method(self) -> &'static str {
        use Call as C;
        match self {
            C::Create | C::Composite | C::CompositeBatch | C::JobCreate | C::IngestCreate => "POST",
            C::Update | C::Upsert | C::IngestClose => "PATCH",
            C::IngestUpload => "PUT",
            C::JobDelete => "DELETE",
            _ if self.soap_method().is_some() => "",
            _ => "GET",
        }
    }

    /// Status of success.
    pub(super) fn ok(self) -> u16 {
        match self {
            Self::Create | Self::IngestUpload => 201,
            Self::Update | Self::Upsert | Self::JobDelete => 204,
            _ => 200,
        }
    }

    /// The same step in the other API, for attacks that keep to their victim's own family.
    pub(super) fn in_family(self, soap: bool) -> Self {
        match (self, soap) {
            (Self::Query, true) => Self::SoapQuery,
            (Self::QueryMore, true) => Self::SoapQueryMore,
            (Self::Describe, true) => Self::SoapDescribe,
            (Self::DescribeGlobal, true) => Self::SoapDescribeGlobal,
            (call, _) => call,
        }
    }

    /// Appends the path (or the SOAP method's name). `part` numbers the record, cursor or job.
    pub(super) fn write_resource(self, out: &mut Vec<u8>, version: u8, entity: &str, part: u64) {
        use Call as C;
        if let Some(method) = self.soap_method() {
            out.extend_from_slice(method.as_bytes());
            return;
        }
        if self == C::ApexRest {
            out.extend_from_slice(b"/services/apexrest/routing");
            return;
        }
        out.extend_from_slice(b"/v");
        write_number(out, u64::from(version));
        out.extend_from_slice(b".0/");
        let object = |out: &mut Vec<u8>, tail: &[u8]| {
            out.extend_from_slice(b"sobjects/");
            out.extend_from_slice(entity.as_bytes());
            out.extend_from_slice(tail);
        };
        match self {
            C::Query => out.extend_from_slice(b"query"),
            C::QueryMore => {
                out.extend_from_slice(b"query/");
                // Pages of one query share the locator and differ in the row at which they start.
                write_id18(out, *b"01g", part >> 12);
                out.push(b'-');
                write_number(out, 2000 * ((part & 0xFFF) + 1));
            }
            C::QueryAll => out.extend_from_slice(b"queryAll"),
            C::Search => out.extend_from_slice(b"search"),
            C::DescribeGlobal => out.extend_from_slice(b"sobjects"),
            C::Describe => object(out, b"/describe"),
            C::Limits => out.extend_from_slice(b"limits"),
            C::Get | C::Update => {
                object(out, b"/");
                write_id18(out, key_prefix(entity), part);
            }
            C::Create => object(out, b""),
            C::Upsert => {
                object(out, b"/External_Id__c/");
                write_number(out, 100_000 + part % 900_000);
            }
            C::Composite => out.extend_from_slice(b"composite"),
            C::CompositeBatch => out.extend_from_slice(b"composite/batch"),
            C::UiRecord => {
                out.extend_from_slice(b"ui-api/records/");
                write_id18(out, key_prefix(entity), part);
            }
            C::UiObject => {
                out.extend_from_slice(b"ui-api/object-info/");
                out.extend_from_slice(entity.as_bytes());
            }
            C::Report => {
                out.extend_from_slice(b"analytics/reports/");
                write_id18(out, *b"00O", part);
            }
            C::ToolingQuery => out.extend_from_slice(b"tooling/query"),
            C::ToolingGet => {
                out.extend_from_slice(b"tooling/");
                object(out, b"/");
                write_id18(out, *b"01p", part);
            }
            C::JobCreate => out.extend_from_slice(b"jobs/query"),
            C::JobPoll | C::JobResult | C::JobDelete => {
                out.extend_from_slice(b"jobs/query/");
                write_id18(out, *b"750", part);
                if self == C::JobResult {
                    out.extend_from_slice(b"/results");
                }
            }
            C::IngestCreate => out.extend_from_slice(b"jobs/ingest"),
            C::IngestUpload | C::IngestClose | C::IngestPoll => {
                out.extend_from_slice(b"jobs/ingest/");
                write_id18(out, *b"750", part);
                if self == C::IngestUpload {
                    out.extend_from_slice(b"/batches");
                }
            }
            _ => {}
        }
    }
}

fn key_prefix(entity: &str) -> [u8; 3] {
    match entity {
        "Account" => *b"001",
        "Contact" => *b"003",
        "Lead" => *b"00Q",
        "Opportunity" => *b"006",
        "Task" => *b"00T",
        "Event" => *b"00U",
        "Case" => *b"500",
        "User" => *b"005",
        _ => *b"a0B",
    }
}

fn write_id18(out: &mut Vec<u8>, prefix: [u8; 3], number: u64) {
    let mut id = [0_u8; 15];
    id[..3].copy_from_slice(&prefix);
    id[3..].copy_from_slice(&base62(number));
    id[3..7].copy_from_slice(b"5e00");
    out.extend_from_slice(&id);
    out.extend_from_slice(&id_suffix(&id));
}

/// Appends a number in decimal.
pub(super) fn write_number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
