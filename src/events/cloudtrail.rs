//! `CloudTrail`'s own rules: what its error codes, event names, user agents and identities mean in canonical terms.

use std::borrow::Cow;

use super::action::Action;

/// The HTTP-like status of an error code ("" is success), and of a sign-in's outcome.
pub(super) fn status(error_code: &str, sign_in: &str) -> u16 {
    if error_code.is_empty() {
        return if sign_in.eq_ignore_ascii_case("failure") { 401 } else { 200 };
    }
    // EC2 prefixes its codes with `Client.` or `Server.`.
    let (server, code) = match error_code.split_once('.') {
        Some(("Server", code)) => (true, code),
        Some(("Client", code)) => (false, code),
        _ => (false, error_code),
    };
    let has = |word: &str| code.contains(word);
    if has("AuthFailure") || has("ExpiredToken") || has("InvalidClientTokenId") || has("SignatureDoesNotMatch") {
        401
    } else if has("AccessDenied") || has("Unauthorized") || has("NotAuthorized") || has("Forbidden") {
        403
    } else if has("Throttl") || has("RequestLimitExceeded") || has("TooManyRequests") || has("SlowDown") {
        429
    } else if has("NotFound") || code.starts_with("NoSuch") || has("DoesNotExist") {
        404
    } else if server || has("InternalError") || has("InternalFailure") || has("ServiceUnavailable") {
        500
    } else {
        400
    }
}

/// The verb class of an event.
pub(super) fn action(source: &str, name: &str, read_only: &str) -> Action {
    const AUTH: [&str; 9] = [
        "ConsoleLogin",
        "CheckMfa",
        "SwitchRole",
        "AssumeRole",
        "AssumeRoleWithSAML",
        "AssumeRoleWithWebIdentity",
        "AssumeRoot",
        "GetSessionToken",
        "GetFederationToken",
    ];
    const DELETES: [&str; 8] =
        ["Delete", "BatchDelete", "Terminate", "Remove", "Deregister", "Detach", "Purge", "ScheduleKeyDeletion"];
    let starts = |prefixes: &[&str]| prefixes.iter().any(|p| name.starts_with(p));
    if source.starts_with("signin.") || source.starts_with("sso.") || AUTH.contains(&name) {
        Action::Auth
    } else if source.starts_with("servicequotas.") || name == "DescribeAccountAttributes" || name == "DescribeLimits" {
        Action::Limits
    } else if starts(&["List"]) {
        Action::DescribeGlobal
    } else if starts(&["Describe", "Head"]) {
        Action::DescribeObject
    } else if starts(&["Search", "Lookup"]) {
        Action::Search
    } else if starts(&["Query", "Scan", "StartQuery", "ExecuteStatement", "BatchExecuteStatement", "Select"]) {
        Action::Query
    } else if starts(&["Get", "BatchGet", "Download", "Decrypt", "View"]) {
        Action::CrudRead
    } else if starts(&DELETES) {
        Action::CrudDelete
    } else if read_only.eq_ignore_ascii_case("true") {
        Action::CrudRead
    } else if read_only.eq_ignore_ascii_case("false") {
        Action::CrudWrite
    } else {
        Action::Other
    }
}

/// Product and version of a user agent; the version is "" if it has none.
pub(super) fn user_agent(text: &str) -> (&str, &str) {
    let text = text.trim().trim_start_matches('[').trim_end_matches(']');
    let products = || text.split([' ', ',', ';']).filter(|t| !t.is_empty());
    if text.starts_with("Mozilla/") {
        // Browsers name every ancestor; the first of these that is present is the browser.
        for browser in ["Edg", "OPR", "Firefox", "Chrome", "Safari"] {
            for (name, version) in products().filter_map(|t| t.split_once('/')) {
                if name == browser {
                    return (name, version);
                }
            }
        }
        return ("Mozilla", "");
    }
    // `APN/1.0 HashiCorp/1.0 Terraform/1.1.2`: partner, vendor, then the program.
    let mut tokens = products();
    let mut first = tokens.next().unwrap_or("");
    if first.starts_with("APN/") {
        first = tokens.nth(1).unwrap_or(first);
    }
    match first.split_once('/') {
        Some((name, version)) if !name.is_empty() => (name, version),
        // No product token: a service's host name, words, or a name that ends in a random id.
        _ => (without_random_tail(text), ""),
    }
}

fn without_random_tail(text: &str) -> &str {
    match text.rsplit_once('_') {
        Some((name, tail)) if tail.len() == 36 && tail.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') => name,
        _ => text,
    }
}

/// The user id where the record has no ARN: IAM users get the ARN that their other records have.
pub(super) fn user_id<'a>(found: &'a str, kind: &str, account: &str) -> Cow<'a, str> {
    if kind == "IAMUser" && !found.contains(':') && !found.is_empty() && !account.is_empty() && found != account {
        return Cow::Owned(format!("arn:aws:iam::{account}:user/{found}"));
    }
    Cow::Borrowed(found)
}

/// The session of a role (`arn:aws:sts::…:assumed-role/<role>/<session>`), "" for other identities.
pub(super) fn role_session(arn: &str) -> &str {
    let Some(path) = arn.split(':').next_back().and_then(|p| p.strip_prefix("assumed-role/")) else { return "" };
    path.split_once('/').map_or("", |(_, session)| session)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_codes_have_a_status() {
        for (code, expected) in [
            ("", 200),
            ("AccessDenied", 403),
            ("Client.UnauthorizedOperation", 403),
            ("ThrottlingException", 429),
            ("Client.RequestLimitExceeded", 429),
            ("NoSuchBucketPolicy", 404),
            ("Client.InvalidVpcID.NotFound", 404),
            ("TrailNotFoundException", 404),
            ("BucketNotEmpty", 400),
            ("Server.InternalError", 500),
        ] {
            assert_eq!(status(code, ""), expected, "{code}");
        }
        assert_eq!((status("", "Failure"), status("", "Success")), (401, 200));
    }

    #[test]
    fn user_agents_are_reduced_to_their_product() {
        for (agent, product) in [
            ("Boto3/1.26.165 Python/3.10.6 Linux/5.19.0-46-generic Botocore/1.29.165", ("Boto3", "1.26.165")),
            ("[S3Console/0.4, aws-internal/3 aws-sdk-java/1.12.488 cfg/retry-mode/standard]", ("S3Console", "0.4")),
            (
                "APN/1.0 HashiCorp/1.0 Terraform/1.1.2 (+https://www.terraform.io) aws-sdk-go/1.44.157",
                ("Terraform", "1.1.2"),
            ),
            ("Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:102.0) Gecko/20100101 Firefox/102.0", ("Firefox", "102.0")),
            ("AWS Internal", ("AWS Internal", "")),
            ("rds.amazonaws.com", ("rds.amazonaws.com", "")),
            ("some-tool_39f95f43-cd2f-4beb-b69e-be60b6fe1f57", ("some-tool", "")),
            ("", ("", "")),
            ("[]", ("", "")),
        ] {
            assert_eq!(user_agent(agent), product, "{agent}");
        }
    }

    #[test]
    fn a_user_is_a_stable_identity() {
        assert_eq!(user_id("jo", "IAMUser", "1234"), "arn:aws:iam::1234:user/jo");
        assert_eq!(user_id("arn:aws:iam::1234:user/jo", "IAMUser", "1234"), "arn:aws:iam::1234:user/jo");
        assert_eq!(user_id("rds.amazonaws.com", "AWSService", ""), "rds.amazonaws.com");
        assert_eq!(role_session("arn:aws:sts::1234:assumed-role/etl/i-0abc"), "i-0abc");
        assert_eq!(role_session("arn:aws:iam::1234:user/jo"), "");
    }

    #[test]
    fn event_names_have_a_verb() {
        use Action as A;
        for (source, name, read_only, expected) in [
            ("signin.amazonaws.com", "ConsoleLogin", "false", A::Auth),
            ("sts.amazonaws.com", "AssumeRole", "true", A::Auth),
            ("s3.amazonaws.com", "ListBuckets", "true", A::DescribeGlobal),
            ("ec2.amazonaws.com", "DescribeInstances", "true", A::DescribeObject),
            ("secretsmanager.amazonaws.com", "GetSecretValue", "true", A::CrudRead),
            ("ec2.amazonaws.com", "TerminateInstances", "false", A::CrudDelete),
            ("iam.amazonaws.com", "CreateUser", "false", A::CrudWrite),
            ("cloudtrail.amazonaws.com", "LookupEvents", "true", A::Search),
            ("kms.amazonaws.com", "Encrypt", "true", A::CrudRead),
            ("x.amazonaws.com", "Frobnicate", "", A::Other),
        ] {
            assert_eq!(action(source, name, read_only), expected, "{name}");
        }
    }
}
