//! store
mod parquet;
