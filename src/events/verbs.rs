//! From (API family, HTTP method, resource template) to a verb class.

use super::action::Action;

/// The class of a call; `resource` is a template of [`super::normalise::resource`] or a method name.
pub fn classify(family: &str, method: &str, resource: &str) -> Action {
    let method = Method::of(method);
    if !resource.contains('/') {
        return match soap(resource) {
            Action::Other if family.eq_ignore_ascii_case("bulk") => bulk(&[], method),
            action => action,
        };
    }
    let path = resource.to_ascii_lowercase();
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    match segments.as_slice() {
        [] => Action::Other,
        ["query"] | ["graphql", ..] => Action::Query,
        ["queryall"] => Action::QueryAll,
        ["query" | "queryall", ..] => Action::QueryMore,
        ["search" | "parameterizedsearch", ..] => Action::Search,
        ["sobjects", rest @ ..] => sobjects(rest, method),
        ["jobs", "query" | "ingest", rest @ ..] | ["job", rest @ ..] => bulk(rest, method),
        ["composite", ..] => Action::Composite,
        ["limits", ..] => Action::Limits,
        ["tooling" | "metadata", ..] | ["services", "metadata" | "m", ..] => Action::MetadataTooling,
        ["ui-api", "object-info", ..] => Action::DescribeObject,
        ["oauth2", ..] | ["services", "oauth2", ..] => Action::Auth,
        _ if family.eq_ignore_ascii_case("bulk") => bulk(&segments, method),
        _ => method.crud(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Read,
    Write,
    Delete,
    Unknown,
}

impl Method {
    fn of(text: &str) -> Self {
        match text {
            "GET" | "HEAD" => Self::Read,
            "POST" | "PUT" | "PATCH" => Self::Write,
            "DELETE" => Self::Delete,
            _ => Self::Unknown,
        }
    }

    fn crud(self) -> Action {
        match self {
            Self::Read => Action::CrudRead,
            Self::Write => Action::CrudWrite,
            Self::Delete => Action::CrudDelete,
            Self::Unknown => Action::Other,
        }
    }
}

fn sobjects(rest: &[&str], method: Method) -> Action {
    match (rest, method) {
        ([] | ["describe"], Method::Read | Method::Unknown) => Action::DescribeGlobal,
        ([_], Method::Read) | ([_, "describe", ..], _) => Action::DescribeObject,
        ([_, "updated" | "deleted", ..], _) | ([_, _, ..], Method::Unknown) => Action::CrudRead,
        _ => method.crud(),
    }
}

/// Below the job collection: `{id}`, `{id}/results`, `{id}/batch/{id}/result` and so on.
fn bulk(rest: &[&str], method: Method) -> Action {
    let result = |s: &&str| {
        matches!(
            *s,
            "results" | "result" | "resultpages" | "successfulresults" | "failedresults" | "unprocessedrecords"
        )
    };
    match method {
        Method::Delete => Action::BulkDelete,
        _ if rest.iter().any(result) => Action::BulkResult,
        Method::Write => Action::BulkCreate,
        Method::Read | Method::Unknown => Action::BulkPoll,
    }
}

fn soap(method: &str) -> Action {
    let name = method.to_ascii_lowercase();
    match name.as_str() {
        "query" => Action::Query,
        "querymore" => Action::QueryMore,
        "queryall" => Action::QueryAll,
        "search" => Action::Search,
        "describeglobal" => Action::DescribeGlobal,
        "login" | "logout" | "invalidatesessions" | "setpassword" | "resetpassword" | "changeownpassword" => {
            Action::Auth
        }
        "retrieve" | "getupdated" | "getdeleted" | "findduplicates" | "findduplicatesbyids" => Action::CrudRead,
        "create" | "update" | "upsert" | "merge" | "undelete" | "convertlead" | "process" | "sendemail" => {
            Action::CrudWrite
        }
        "delete" | "emptyrecyclebin" => Action::CrudDelete,
        "describemetadata"
        | "listmetadata"
        | "readmetadata"
        | "createmetadata"
        | "updatemetadata"
        | "upsertmetadata"
        | "deletemetadata"
        | "renamemetadata"
        | "deploy"
        | "checkdeploystatus"
        | "checkretrievestatus"
        | "executeanonymous"
        | "compileclasses"
        | "compiletriggers"
        | "runtests" => Action::MetadataTooling,
        _ if name.starts_with("describe") => Action::DescribeObject,
        _ => Action::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verb_is_read_from_family_method_and_template() {
        use Action as A;
        for (family, method, resource, action) in [
            ("SOAP", "", "login", A::Auth),
            ("SOAP", "", "query", A::Query),
            ("SOAP", "", "queryMore", A::QueryMore),
            ("SOAP", "", "queryAll", A::QueryAll),
            ("SOAP", "", "describeGlobal", A::DescribeGlobal),
            ("SOAP", "", "describeSObjects", A::DescribeObject),
            ("SOAP", "", "getUpdated", A::CrudRead),
            ("SOAP", "", "upsert", A::CrudWrite),
            ("SOAP", "", "delete", A::CrudDelete),
            ("SOAP", "", "getServerTimestamp", A::Other),
            ("REST", "GET", "/query", A::Query),
            ("REST", "GET", "/query/{cursor}", A::QueryMore),
            ("REST", "GET", "/queryAll", A::QueryAll),
            ("REST", "GET", "/queryAll/{cursor}", A::QueryMore),
            ("REST", "GET", "/search", A::Search),
            ("REST", "GET", "/sobjects", A::DescribeGlobal),
            ("REST", "GET", "/sobjects/Case", A::DescribeObject),
            ("REST", "GET", "/sobjects/Case/describe", A::DescribeObject),
            ("REST", "POST", "/sobjects/Case", A::CrudWrite),
            ("REST", "GET", "/sobjects/Case/{id}", A::CrudRead),
            ("REST", "PATCH", "/sobjects/Case/{id}", A::CrudWrite),
            ("REST", "DELETE", "/sobjects/Case/{id}", A::CrudDelete),
            ("REST", "POST", "/jobs/query", A::BulkCreate),
            ("Bulk", "GET", "/jobs/query/{id}", A::BulkPoll),
            ("REST", "GET", "/jobs/query/{id}/results", A::BulkResult),
            ("REST", "DELETE", "/jobs/query/{id}", A::BulkDelete),
            ("REST", "PATCH", "/jobs/ingest/{id}", A::BulkCreate),
            ("Bulk", "POST", "/job", A::BulkCreate),
            ("Bulk", "GET", "/job/{id}/batch/{id}", A::BulkPoll),
            ("Bulk", "GET", "/job/{id}/batch/{id}/result/{id}", A::BulkResult),
            ("Bulk", "GET", "", A::BulkPoll),
            ("REST", "POST", "/composite/batch", A::Composite),
            ("REST", "GET", "/limits", A::Limits),
            ("REST", "GET", "/tooling/query", A::MetadataTooling),
            ("REST", "POST", "/services/oauth2/token", A::Auth),
            ("ApexREST", "GET", "/services/apexrest/orders/{id}", A::CrudRead),
            ("REST", "", "/recent", A::Other),
            ("REST", "GET", "/", A::Other),
            ("", "", "", A::Other),
        ] {
            assert_eq!(classify(family, method, resource), action, "{family} {method} {resource}");
        }
    }
}
