//! Signatures of webhooks as the Standard Webhooks specification has them: HMAC-SHA256 over id, time and body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The `webhook-signature` of a request.
pub(super) fn signature(key: &[u8], id: &str, seconds: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_the_python_library_computes() {
        // Python 3.11: base64.b64encode(hmac.new(b"secret", b'qw_1.1776800000.{"a":1}', "sha256").digest())
        assert_eq!(
            signature(b"secret", "qw_1", 1_776_800_000, b"{\"a\":1}"),
            "v1,j3jfR9bLEnVq7RRpKdjOGYeXE5TR30ealJ9SG+pUC1o="
        );
    }
}
