//! A message as JSON for any receiver: a type, a time and data, as the Standard Webhooks specification has it.

use serde_json::{Value, json};

use super::Message;
use crate::date::{MS_PER_DAY, format_ms};

/// The body of the request. The time is that of the night, so that a message sent twice has the same bytes.
pub fn payload(message: &Message) -> Value {
    json!({
        "type": format!("quietwatch.{}", message.why.name()),
        "timestamp": format_ms(message.night.start_ms() + MS_PER_DAY),
        "data": {
            "key": message.key,
            "night": message.night,
            "model_name": message.model_name,
            "model_version": message.model_version,
            "headline": message.headline,
            "notes": message.notes,
            "left_out": message.left_out,
            "report_url": message.report_url,
            "anomalies": message.anomalies,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::message::{Wanted, of_run};
    use crate::report::{COLUMNS, sample};

    #[test]
    fn the_body_holds_the_anomalies_with_their_columns_and_the_time_of_the_night() {
        let wanted = Wanted { heartbeat: false, nights: 7, report_url: "" };
        let messages = of_run(&sample::run(), &[sample::anomaly(1)], wanted);
        let body = payload(&messages[0]);
        assert_eq!(
            (&body["type"], &body["timestamp"]),
            (&json!("quietwatch.critical"), &json!("2026-04-22T00:00:00.000Z"))
        );
        let row = body["data"]["anomalies"][0].as_object().unwrap();
        assert_eq!(row.keys().collect::<Vec<_>>(), COLUMNS);
        assert_eq!(body["data"]["key"], format!("acme/2026-04-21/critical/{}", sample::anomaly(1).anomaly_key));
    }
}
