//! What a TOML file or `--set` may say: one row per key with its meaning, its range and where it goes.
//!
//! This table is the only list of keys. Reading, checking, `config show`, `config init` and `docs/config.md` all follow
//! it, and a test holds it equal to the fields of [`Settings`].

use ipnet::IpNet;
use toml::Value;

use super::deliver::{self, Deliver, Security};
use super::settings::{ExpectedChange, Geometry, Run, Settings};

/// Everything that options fill in.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Values {
    pub(super) settings: Settings,
    pub(super) run: Run,
    pub(super) deliver: Deliver,
}

/// One key.
pub(super) struct Opt {
    /// `section.name`.
    pub(super) key: &'static str,
    /// What a value must be, after "must be".
    pub(super) must: &'static str,
    /// What it does, one sentence.
    pub(super) meaning: &'static str,
    /// Where the value is put, if it has the right type.
    pub(super) set: fn(&mut Values, Value) -> Result<(), toml::de::Error>,
    /// The present value; none if it is not set.
    pub(super) get: fn(&Values) -> Option<Value>,
    /// Whether the present value is in range.
    pub(super) holds: fn(&Values) -> bool,
}

impl Opt {
    /// The part of the key before the dot.
    pub(super) fn section(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(section, _)| section)
    }

    /// The part of the key after the dot.
    pub(super) fn name(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(_, name)| name)
    }

    /// Whether it may differ from the model's value at score time: these keys decide what is reported, what is known
    /// about the world and how this installation runs, not what was learned.
    pub(super) fn free_at_score_time(&self) -> bool {
        self.is_of_installation()
            || matches!(self.section(), "alerts" | "ranking" | "enrich" | "outputs" | "expected" | "gates")
    }

    /// Whether it belongs to one installation and is no part of a model.
    pub(super) fn is_of_installation(&self) -> bool {
        matches!(self.section(), "deliver" | "run" | "signing")
    }

    /// Whether a relative value means a path beside the configuration file.
    pub(super) fn is_path(&self) -> bool {
        self.key.ends_with("-file")
            || matches!(
                self.key,
                "enrich.networks"
                    | "outputs.metrics"
                    | "outputs.ocsf"
                    | "deliver.dry-run"
                    | "run.store"
                    | "run.models"
                    | "signing.trusted-keys"
            )
    }
}

/// Whether models and aliases may be named so.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

/// One sentence for each section, in the order of [`OPTIONS`].
pub(super) const SECTIONS: [(&str, &str); 16] = [
    ("limits", "Limits on untrusted input; exceeding one ends the command with exit code 4 and nothing half-written."),
    ("enrich", "What is known about networks, apps and users."),
    ("baseline", "How behaviour is learned."),
    ("rules", "The rules people know, as detectors beside the learned ones."),
    ("fusion", "Weights of the evidence families, normalised over the families that spoke."),
    ("geometry", "Detectors over whole feature vectors."),
    ("sequence", "Detectors of order: which calls follow which."),
    ("calibration", "How scores become p-values."),
    ("alerts", "What is reported."),
    ("ranking", "What is kept in the ranked file."),
    ("expected", "What is expected and not to be alerted on."),
    (
        "gates",
        "From when on a night is not to be trusted as it is; it is published all the same, and score --strict ends with exit code 5.",
    ),
    ("outputs", "What is written beside the fixed files."),
    (
        "deliver",
        "Where score sends messages after it has published: one digest a night, one message per critical anomaly, nothing on a calm night. Secrets are in files of their own.",
    ),
    ("run", "Where and how this installation runs: values of flags that a nightly job would otherwise repeat."),
    ("signing", "Who vouches for a model version (docs/operations.md, Signatures). Never stored in a model."),
];

macro_rules! options {
    ($($key:literal => $root:ident.$section:ident $(.$field:ident)?, $must:literal, $holds:expr, $meaning:literal;)*) => {
        /// Every key, in the order in which it is shown.
        pub(super) const OPTIONS: &[Opt] = &[$(Opt {
            key: $key,
            must: $must,
            meaning: $meaning,
            set: |values, value| {
                values.$root.$section $(.$field)? = value.try_into()?;
                Ok(())
            },
            get: |values| Value::try_from(&values.$root.$section $(.$field)?).ok(),
            holds: |values| {
                // The condition that must hold is tested, so that NaN fails.
                let holds: fn(&Values) -> bool = $holds;
                holds(values)
            },
        },)*];
    };
}

options! {
    "limits.bad-row-share" => settings.limits.bad_row_share, "a number from 0 to 1",
        |v| (0.0..=1.0).contains(&v.settings.limits.bad_row_share),
        "Largest tolerated share of quarantined rows in one file.";
    "limits.line-bytes" => settings.limits.line_bytes, "a whole number from 1024 to 1073741824",
        |v| (1 << 10..=1 << 30).contains(&v.settings.limits.line_bytes),
        "Longest line (CSV record, JSON line) in bytes.";
    "limits.decompression-ratio" => settings.limits.decompression_ratio, "a number from 1 to 1000000",
        |v| (1.0..=1e6).contains(&v.settings.limits.decompression_ratio),
        "Largest decompressed size over compressed size of one file.";
    "limits.file-bytes" => settings.limits.file_bytes, "a whole number from 1 to 9223372036854775807",
        |v| (1..=i64::MAX as u64).contains(&v.settings.limits.file_bytes),
        "Largest decompressed size of one file in bytes.";

    "enrich.networks" => settings.enrich.networks, "a list of file paths",
        |v| all_said(&v.settings.enrich.networks),
        "CSV (network, country, asn, as_name, class, optional city) or MMDB files that override the built-in country table.";
    "enrich.corporate-ranges" => settings.enrich.corporate_ranges, "a list of networks in CIDR notation",
        |v| v.settings.enrich.corporate_ranges.iter().all(|n| n.parse::<IpNet>().is_ok()),
        "Corporate egress ranges.";
    "enrich.allowed-apps" => settings.enrich.allowed_apps, "a list of app ids or names",
        |v| all_said(&v.settings.enrich.allowed_apps),
        "Connected apps that are allowed; empty means that no list is kept.";
    "enrich.integration-users" => settings.enrich.integration_users, "a list of user ids or names",
        |v| all_said(&v.settings.enrich.integration_users),
        "Known integrations.";
    "enrich.vpn-asns" => settings.enrich.vpn_asns, "a list of autonomous system numbers",
        |v| v.settings.enrich.vpn_asns.iter().all(|&n| n > 0),
        "Autonomous systems of VPN providers.";
    "enrich.tor-asns" => settings.enrich.tor_asns, "a list of autonomous system numbers",
        |v| v.settings.enrich.tor_asns.iter().all(|&n| n > 0),
        "Autonomous systems of Tor exits.";

    "baseline.half-life-days" => settings.baseline.half_life_days, "a number from 1 to 3650",
        |v| (1.0..=3650.0).contains(&v.settings.baseline.half_life_days),
        "Half-life of the slow memory, days.";
    "baseline.fast-half-life-days" => settings.baseline.fast_half_life_days,
        "a number from 0.5 to baseline.half-life-days",
        |v| (0.5..=v.settings.baseline.half_life_days).contains(&v.settings.baseline.fast_half_life_days),
        "Half-life of the fast memory, days.";
    "baseline.min-history-days" => settings.baseline.min_history_days, "a whole number from 1 to 365",
        |v| (1..=365).contains(&v.settings.baseline.min_history_days),
        "Days of history below which scores lean on peers and the night says so; nothing at all is scored below 7, or this if it is smaller.";
    "baseline.no-learning-below" => settings.baseline.no_learning_below, "a number from 0 to 0.5",
        |v| (0.0..=0.5).contains(&v.settings.baseline.no_learning_below),
        "A night with a final p below this is not learned from until 7 days have passed.";

    "rules.window-days" => settings.rules.window_days, "a whole number from 14 to 30",
        |v| (14..=30).contains(&v.settings.rules.window_days),
        "Days over which medians and percentiles are taken.";
    "rules.median-ratio" => settings.rules.median_ratio, "a number from 1 to 1000",
        |v| (1.0..=1000.0).contains(&v.settings.rules.median_ratio),
        "Volume above this multiple of the median.";
    "rules.sigmas" => settings.rules.sigmas, "a number from 0.5 to 100",
        |v| (0.5..=100.0).contains(&v.settings.rules.sigmas),
        "Volume above mean plus this many standard deviations.";
    "rules.error-points" => settings.rules.error_points, "a number above 0 and up to 100",
        |v| 0.0 < v.settings.rules.error_points && v.settings.rules.error_points <= 100.0,
        "Error rate above usual by this many percentage points.";
    "rules.new-value-min-calls" => settings.rules.new_value_min_calls, "a whole number from 1 to 1000000",
        |v| (1..=1_000_000).contains(&v.settings.rules.new_value_min_calls),
        "A value never seen before matters from this many calls on.";

    "fusion.count" => settings.fusion.count, "a number from 0 to 100, not all weights 0",
        |v| is_weight(v, v.settings.fusion.count),
        "Weight of counts.";
    "fusion.rate" => settings.fusion.rate, "a number from 0 to 100, not all weights 0",
        |v| is_weight(v, v.settings.fusion.rate),
        "Weight of rates.";
    "fusion.time" => settings.fusion.time, "a number from 0 to 100, not all weights 0",
        |v| is_weight(v, v.settings.fusion.time),
        "Weight of time.";
    "fusion.novelty" => settings.fusion.novelty, "a number from 0 to 100, not all weights 0",
        |v| is_weight(v, v.settings.fusion.novelty),
        "Weight of novelty.";
    "fusion.sequence" => settings.fusion.sequence, "a number from 0 to 100, not all weights 0",
        |v| is_weight(v, v.settings.fusion.sequence),
        "Weight of sequences.";
    "fusion.geometry" => settings.fusion.geometry, "a number from 0 to 100, not all weights 0",
        |v| is_weight(v, v.settings.fusion.geometry),
        "Weight of geometry; with 0 nights are scored without it.";

    "geometry.backend" => settings.geometry.backend, "quietwatch or extended-isolation-forest",
        |_| true,
        "What grows the extended isolation forest: our own, or the crate of that name (no two trainings are equal, at most 32 columns).";
    "geometry.trees" => settings.geometry.trees, "a whole number from 1 to 10000",
        |v| (1..=10_000).contains(&v.settings.geometry.trees),
        "Trees of the extended isolation forest.";
    "geometry.sample" => settings.geometry.sample, "a whole number from 2 to 65536",
        |v| (2..=65_536).contains(&v.settings.geometry.sample),
        "Rows that a tree is grown from.";
    "geometry.level" => settings.geometry.level, "a whole number from 0 to 1000",
        |v| v.settings.geometry.level <= 1000,
        "Extension level: a cut involves this many columns and one more.";
    "geometry.references" => settings.geometry.references, "a whole number from 20 to 100000",
        |v| (20..=100_000).contains(&v.settings.geometry.references),
        "Most rows that distances are measured to.";
    "geometry.members" => settings.geometry.members,
        "a list, not empty, of extended_isolation_forest, dbscan, one_class_svm, knn, mahalanobis, gaussian_mixture, autoencoder",
        |v| are_members(&v.settings.geometry.members),
        "Members that count on tables; the others are computed, with weight 0.";
    "geometry.trim" => settings.geometry.trim, "a number from 0 to 0.5",
        |v| (0.0..=0.5).contains(&v.settings.geometry.trim),
        "Share of the oddest training rows of a table that the density and distance members do not learn from.";
    "geometry.night-members" => settings.geometry.night_members,
        "a list, not empty, of extended_isolation_forest, dbscan, one_class_svm, knn, mahalanobis, gaussian_mixture, autoencoder",
        |v| are_members(&v.settings.geometry.night_members),
        "Members that count on nights; the others are not computed.";
    "geometry.night-trees" => settings.geometry.night_trees, "a whole number from 1 to 10000",
        |v| (1..=10_000).contains(&v.settings.geometry.night_trees),
        "As geometry.trees, on nights.";
    "geometry.night-trim" => settings.geometry.night_trim, "a number from 0 to 0.5",
        |v| (0.0..=0.5).contains(&v.settings.geometry.night_trim),
        "As geometry.trim, on nights.";
    "geometry.autoencoder" => settings.geometry.autoencoder, "true or false",
        |_| true,
        "Train an autoencoder on tables too.";

    "sequence.order" => settings.sequence.order, "a whole number from 1 to 32",
        |v| (1..=32).contains(&v.settings.sequence.order),
        "Tokens of the longest n-grams.";
    "sequence.ngrams" => settings.sequence.ngrams, "a whole number from 1000 to 100000000",
        |v| (1_000..=100_000_000).contains(&v.settings.sequence.ngrams),
        "Most n-grams of a model (about 100 bytes of memory and 24 of its file each); of more, the longest are left out.";
    "sequence.vocabulary" => settings.sequence.vocabulary, "a whole number from 1 to 16384",
        |v| (1..=16_384).contains(&v.settings.sequence.vocabulary),
        "Most tokens with a name of their own, those in most sequences first; the others are unknown.";
    "sequence.references" => settings.sequence.references, "a whole number from 20 to 1000000",
        |v| (20..=1_000_000).contains(&v.settings.sequence.references),
        "Most distinct sets of tokens that distances are measured to.";
    "sequence.night-order" => settings.sequence.night_order, "a whole number from 1 to 32",
        |v| (1..=32).contains(&v.settings.sequence.night_order),
        "As sequence.order, on nights.";
    "sequence.night-ngrams" => settings.sequence.night_ngrams, "a whole number from 1000 to 100000000",
        |v| (1_000..=100_000_000).contains(&v.settings.sequence.night_ngrams),
        "As sequence.ngrams, of each organisation on nights.";
    "sequence.odd-share" => settings.sequence.odd_share, "a number from 0 to 0.5",
        |v| (0.0..=0.5).contains(&v.settings.sequence.odd_share),
        "Share of the oddest training sequences that hardly count as examples of what is normal.";
    "sequence.lstm-autoencoder" => settings.sequence.lstm_autoencoder, "true or false",
        |_| true,
        "Train an LSTM autoencoder on sequences (--sequences) too; it counts if it adds to n-grams, which training measures.";
    "sequence.transformer" => settings.sequence.transformer, "true or false",
        |_| true,
        "Train a Transformer on sequences (--sequences) too; it counts under the same condition.";

    "calibration.nights" => settings.calibration.nights, "a whole number from 1 to 365",
        |v| (1..=365).contains(&v.settings.calibration.nights),
        "How many of the last training nights calibrate.";
    "calibration.drift-nights" => settings.calibration.drift_nights, "a whole number from 0 to 365",
        |v| v.settings.calibration.drift_nights <= 365,
        "Past scored nights whose share of p-values up to 0.1 corrects those of the next night; 0 corrects nothing.";
    "calibration.tail-quantile" => settings.calibration.tail_quantile, "a number from 0.5 to 0.999",
        |v| (0.5..=0.999).contains(&v.settings.calibration.tail_quantile),
        "Quantile above which the tail is a generalised Pareto distribution.";
    "calibration.min-stratum" => settings.calibration.min_stratum, "a whole number from 20 to 1000000",
        |v| (20..=1_000_000).contains(&v.settings.calibration.min_stratum),
        "Fewest points for a stratum of its own.";

    "alerts.per-night" => settings.alerts.per_night, "a whole number from 0 to 100000",
        |v| v.settings.alerts.per_night <= 100_000,
        "Most alerts a night, over all organisations.";
    "alerts.q" => settings.alerts.q, "a number above 0 and below 1",
        |v| 0.0 < v.settings.alerts.q && v.settings.alerts.q < 1.0,
        "False discovery rate of a night.";

    "ranking.keep" => settings.ranking.keep, "a whole number from 1 to 1000000",
        |v| (1..=1_000_000).contains(&v.settings.ranking.keep),
        "Subjects kept per night in the ranked file.";

    "expected.changes" => settings.expected.changes,
        "a list of { who = [\"NAME\"], what = [\"VALUE\"], from = DATE, until = DATE, owner = \"NAME\", reason = \"TEXT\", effects = [\"do-not-alert\", \"do-not-learn\"] } with who or what, and from not after until",
        |v| v.settings.expected.changes.iter().all(is_change),
        "Announced changes: whom they name (`*` is everyone) is ranked but neither reported nor learned from, or only one of these if `effects` says so; with `what`, only on days on which these values (addresses, countries, apps, objects) are all that is new.";

    "gates.psi" => settings.gates.psi, "a number from 0.01 to 100",
        |v| (0.01..=100.0).contains(&v.settings.gates.psi),
        "Population stability index from which on a feature has moved, if no training night came within half of it.";
    "gates.volume-ratio" => settings.gates.volume_ratio, "a number from 1.1 to 1000",
        |v| (1.1..=1000.0).contains(&v.settings.gates.volume_ratio),
        "Calls of a day above this multiple of the usual, or below its inverse.";
    "gates.model-age-days" => settings.gates.model_age_days, "a whole number from 1 to 3650",
        |v| (1..=3650).contains(&v.settings.gates.model_age_days),
        "Days after the last training day from which on a model is too old.";

    "outputs.report" => settings.outputs.report, "true or false",
        |_| true,
        "Write report.html.";
    "outputs.metrics" => settings.outputs.metrics, "a path, or empty for none",
        |_| true,
        "File that score writes metrics of the last night to, for the textfile collector of the Prometheus node exporter: the heartbeat.";

    "outputs.ocsf" => settings.outputs.ocsf, "a path, in which `{date}` stands for the night, or empty for none",
        |_| true,
        "File that score writes the reported anomalies to as OCSF 1.5.0 Detection Findings, one JSON object per line; with `{date}`, a file for each night.";
    "outputs.ocsf-watch-list" => settings.outputs.ocsf_watch_list, "true or false",
        |_| true,
        "Write the watch list to that file too, with `is_alert` false.";

    "deliver.slack.url-file" => deliver.slack.url_file, "a path, or empty for none",
        |_| true,
        "File that holds the address of an incoming webhook of Slack.";
    "deliver.slack.ca-file" => deliver.slack.ca_file, "a path, or empty for the well-known authorities",
        |_| true,
        "PEM file of the certificate authorities to trust for this channel in place of the well-known ones, as where a proxy ends TLS.";
    "deliver.mail.server" => deliver.mail.server, "HOST or HOST:PORT, or empty for none",
        |v| v.deliver.mail.server.is_empty() || v.deliver.mail.host_and_port().is_some(),
        "Mail server; the port is 587 with starttls, 465 with tls and 25 with plain unless it is given.";
    "deliver.mail.security" => deliver.mail.security, "starttls, tls, or plain where the server is this machine",
        |v| v.deliver.mail.security != Security::Plain || v.deliver.mail.server.is_empty() || v.deliver.mail.is_local(),
        "How the connection is encrypted.";
    "deliver.mail.from" => deliver.mail.from, "an address, where there is a server",
        |v| v.deliver.mail.server.is_empty() || deliver::is_mail_address(&v.deliver.mail.from),
        "Sender.";
    "deliver.mail.to" => deliver.mail.to, "a list of 1 to 50 addresses, where there is a server",
        |v| {
            let to = &v.deliver.mail.to;
            v.deliver.mail.server.is_empty() || ((1..=50).contains(&to.len()) && to.iter().all(|a| deliver::is_mail_address(a)))
        },
        "Recipients.";
    "deliver.mail.user" => deliver.mail.user, "text, or empty to send without logging in",
        |_| true,
        "User at the mail server.";
    "deliver.mail.password-file" => deliver.mail.password_file, "a path, where there is a user",
        |v| v.deliver.mail.user.is_empty() || !v.deliver.mail.password_file.is_empty(),
        "File that holds the password of that user.";
    "deliver.mail.ca-file" => deliver.mail.ca_file, "a path, or empty for the well-known authorities",
        |_| true,
        "PEM file of the certificate authorities to trust for this channel in place of the well-known ones, such as an organisation's own.";
    "deliver.webhook.url" => deliver.webhook.url,
        "an address with https://, or http:// on this machine, without user or password, or empty for none",
        |v| v.deliver.webhook.url.is_empty() || deliver::is_safe_url(&v.deliver.webhook.url),
        "Receiver of signed JSON; put no secret into the address, it is shown.";
    "deliver.webhook.secret-file" => deliver.webhook.secret_file, "a path, where there is an address",
        |v| v.deliver.webhook.url.is_empty() || !v.deliver.webhook.secret_file.is_empty(),
        "File that holds the secret with which requests are signed: `whsec_` and base64, or any text.";
    "deliver.webhook.ca-file" => deliver.webhook.ca_file, "a path, or empty for the well-known authorities",
        |_| true,
        "PEM file of the certificate authorities to trust for this channel in place of the well-known ones, such as an organisation's own.";
    "deliver.heartbeat" => deliver.heartbeat, "true or false",
        |_| true,
        "Send a short message on calm nights too, with gates and coverage, so that silence is never mistaken for health.";
    "deliver.nights" => deliver.nights, "a whole number from 1 to 366",
        |v| (1..=366).contains(&v.deliver.nights),
        "Most nights of one run that are delivered, the latest ones: scoring a year again must not send a year of digests.";
    "deliver.report-url" => deliver.report_url,
        "an address with https://, or http:// on this machine, in which `{date}` stands for the night, or empty for none",
        |v| v.deliver.report_url.is_empty() || deliver::is_safe_url(&v.deliver.report_url.replace("{date}", "")),
        "Where people find the report; messages link to it.";
    "deliver.dry-run" => deliver.dry_run, "a path, or empty to send",
        |_| true,
        "Folder to write every request to, as it would be sent but for secrets, in place of sending it.";
    "deliver.attempts" => deliver.attempts, "a whole number from 1 to 20",
        |v| (1..=20).contains(&v.deliver.attempts),
        "Most attempts for one message in one run; what is not delivered then, the next run delivers.";
    "deliver.timeout-seconds" => deliver.timeout_seconds, "a whole number from 1 to 120",
        |v| (1..=120).contains(&v.deliver.timeout_seconds),
        "Longest time for one attempt.";
    "deliver.give-up-seconds" => deliver.give_up_seconds, "a whole number from 1 to 3600",
        |v| (1..=3600).contains(&v.deliver.give_up_seconds),
        "No attempt on a message begins later than this after its first, whatever a receiver asks to wait.";
    "deliver.back-off-ms" => deliver.back_off_ms, "a whole number from 1 to 60000",
        |v| (1..=60_000).contains(&v.deliver.back_off_ms),
        "Wait before the second attempt, give or take half; doubled before each further one.";

    "run.profile" => run.profile, "the name of a built-in profile or a TOML file",
        |v| !v.run.profile.is_empty(),
        "Profile of the event files (flag --profile).";
    "run.store" => run.store, "a path",
        |v| v.run.store.as_ref().is_none_or(|p| !p.as_os_str().is_empty()),
        "Folder of the partitions (flag --store).";
    "run.archive" => run.archive, "true or false",
        |_| true,
        "Whether features keeps the canonical events (flag --no-archive).";
    "run.models" => run.models, "a path",
        |v| v.run.models.as_ref().is_none_or(|p| !p.as_os_str().is_empty()),
        "Folder of the models (flag --models).";
    "run.name" => run.name, "a name of 1 to 64 of the characters a-z, 0-9, _ and -",
        |v| v.run.name.as_ref().is_none_or(|n| !n.is_empty()),
        "Name of the model (flag --name).";
    "run.keep-versions" => run.keep_versions, "a whole number from 0 to 1000000",
        |v| v.run.keep_versions <= 1_000_000,
        "How many of the last versions `models gc` leaves in any case (flag --keep).";
    "run.seed" => run.seed, "a whole number from 0 to 9223372036854775807",
        |v| i64::try_from(v.run.seed).is_ok(),
        "Seed of the training (flag --seed).";
    "run.fail-on" => run.fail_on, "info, low, medium, high or critical",
        |_| true,
        "Severity from which on a reported anomaly ends score with exit code 10 (flag --fail-on).";
    "run.strict" => run.strict, "true or false",
        |_| true,
        "Whether a tripped gate ends score with exit code 5 (flag --strict).";
    "run.shadow" => run.shadow, "the name of an alias: 1 to 64 of the characters a-z, 0-9, _ and -",
        |v| v.run.shadow.as_deref().is_none_or(is_name),
        "Alias of a version, such as challenger, that scores each night after the champion's run is published; what it would change is in shadow.json and shadow.html (flag --shadow).";
    "run.log-format" => run.log_format, "text or json",
        |_| true,
        "How messages are written to standard error: lines for people, or one JSON object a line (flag --log-format).";

    "signing.key-file" => run.signing.key_file, "a path",
        |v| v.run.signing.key_file.as_ref().is_none_or(|p| !p.as_os_str().is_empty()),
        "Ed25519 private key (PKCS#8 PEM) that train signs each new version with, and promote one that nobody has signed.";
    "signing.trusted-keys" => run.signing.trusted_keys, "a list of paths",
        |v| v.run.signing.trusted_keys.iter().all(|p| !p.as_os_str().is_empty()),
        "Ed25519 public keys (PEM): a version without a signature by one of them is refused with exit code 7; empty asks for no signature.";
}

fn are_members(list: &[String]) -> bool {
    !list.is_empty() && list.iter().all(|name| Geometry::MEMBERS.contains(&name.as_str()))
}

fn is_change(c: &ExpectedChange) -> bool {
    let named = !(c.who.is_empty() && c.what.is_empty()) && all_said(&c.who) && all_said(&c.what);
    c.from <= c.until && named && !c.effects.is_empty()
}

/// No entry is empty.
fn all_said(list: &[String]) -> bool {
    list.iter().all(|entry| !entry.trim().is_empty())
}

fn is_weight(values: &Values, weight: f64) -> bool {
    let f = &values.settings.fusion;
    (0.0..=100.0).contains(&weight) && f.count + f.rate + f.time + f.novelty + f.sequence + f.geometry > 0.0
}
