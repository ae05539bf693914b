//! Options (what TOML may say) become settings (what code runs on).

pub mod settings;

pub use settings::Settings;
