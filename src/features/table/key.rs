//! Values of keys as text for people, and their types.

use polars_arrow::array::{Array, BooleanArray, PrimitiveArray, Utf8Array, Utf8ViewArray};
use polars_arrow::datatypes::{ArrowDataType, TimeUnit};
use polars_arrow::types::NativeType;

use super::Key;
use crate::date::{Date, format_ms};

impl Key {
    /// The value of one row, as it is: not escaped, empty if it is missing.
    pub fn text(&self, row: usize) -> String {
        let array = self.values.as_ref();
        if array.is_null(row) {
            return String::new();
        }
        shown(array, row).unwrap_or_default()
    }
}

/// Whether a column of this type can be a key: text, a number, a truth value, a date or a time.
pub(crate) fn can_be_key(dtype: &ArrowDataType) -> bool {
    use ArrowDataType as T;
    matches!(
        dtype,
        T::Boolean
            | T::Int8
            | T::Int16
            | T::Int32
            | T::Int64
            | T::UInt8
            | T::UInt16
            | T::UInt32
            | T::UInt64
            | T::Float32
            | T::Float64
            | T::Utf8
            | T::LargeUtf8
            | T::Utf8View
            | T::Date32
            | T::Time64(_)
            | T::Timestamp(..)
            | T::Duration(_)
            | T::Decimal(..)
    )
}

fn at<T: NativeType>(array: &dyn Array, row: usize) -> Option<T> {
    Some(array.as_any().downcast_ref::<PrimitiveArray<T>>()?.value(row))
}

fn shown(array: &dyn Array, row: usize) -> Option<String> {
    use ArrowDataType as T;
    let any = array.as_any();
    Some(match array.dtype() {
        T::Boolean => any.downcast_ref::<BooleanArray>()?.value(row).to_string(),
        T::Utf8 => any.downcast_ref::<Utf8Array<i32>>()?.value(row).to_owned(),
        T::LargeUtf8 => any.downcast_ref::<Utf8Array<i64>>()?.value(row).to_owned(),
        T::Utf8View => any.downcast_ref::<Utf8ViewArray>()?.value(row).to_owned(),
        T::Int8 => at::<i8>(array, row)?.to_string(),
        T::Int16 => at::<i16>(array, row)?.to_string(),
        T::Int32 => at::<i32>(array, row)?.to_string(),
        T::Int64 | T::Time64(_) | T::Duration(_) => at::<i64>(array, row)?.to_string(),
        T::UInt8 => at::<u8>(array, row)?.to_string(),
        T::UInt16 => at::<u16>(array, row)?.to_string(),
        T::UInt32 => at::<u32>(array, row)?.to_string(),
        T::UInt64 => at::<u64>(array, row)?.to_string(),
        T::Float32 => at::<f32>(array, row)?.to_string(),
        T::Float64 => at::<f64>(array, row)?.to_string(),
        T::Decimal(_, scale) => decimal(at::<i128>(array, row)?, *scale),
        T::Date32 => date(at::<i32>(array, row)?),
        T::Timestamp(unit, _) => {
            let time = at::<i64>(array, row)?;
            let ms = match unit {
                TimeUnit::Second => time.checked_mul(1000)?,
                TimeUnit::Millisecond => time,
                TimeUnit::Microsecond => time.div_euclid(1000),
                TimeUnit::Nanosecond => time.div_euclid(1_000_000),
            };
            // Outside of the years that have four digits a number says it better.
            if (FIRST_DAY..LAST_DAY).contains(&ms.div_euclid(86_400_000)) { format_ms(ms) } else { time.to_string() }
        }
        _ => return None,
    })
}

/// Days of 0001-01-01 and 9999-12-31 since 1970.
const FIRST_DAY: i64 = -719_162;
const LAST_DAY: i64 = 2_932_896;

fn date(days: i32) -> String {
    if (FIRST_DAY..LAST_DAY).contains(&i64::from(days)) { Date(days).to_string() } else { days.to_string() }
}

fn decimal(value: i128, scale: usize) -> String {
    if scale == 0 {
        return value.to_string();
    }
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    format!("{}{whole}.{part}", if value < 0 { "-" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_type_are_shown() {
        let key = |values: Box<dyn Array>| Key { name: "k".into(), values }.text(0);
        assert_eq!(key(Utf8ViewArray::from_slice_values(["a\u{1b}"]).boxed()), "a\u{1b}");
        assert_eq!(key(PrimitiveArray::from_vec(vec![-3_i8]).boxed()), "-3");
        assert_eq!(key(PrimitiveArray::from_vec(vec![u64::MAX]).boxed()), u64::MAX.to_string());
        assert_eq!(key(PrimitiveArray::from_vec(vec![0.1_f32]).boxed()), "0.1");
        let dates = |days| PrimitiveArray::from_vec(vec![days]).to(ArrowDataType::Date32).boxed();
        assert_eq!(key(dates(0)), "1970-01-01");
        assert_eq!(key(dates(i32::MAX)), i32::MAX.to_string());
        let time = |unit, t| PrimitiveArray::from_vec(vec![t]).to(ArrowDataType::Timestamp(unit, None)).boxed();
        assert_eq!(key(time(TimeUnit::Microsecond, 1_000_000)), "1970-01-01T00:00:01.000Z");
        assert_eq!(key(time(TimeUnit::Second, i64::MAX / 2)), "");
        assert_eq!(key(time(TimeUnit::Millisecond, i64::MAX)), i64::MAX.to_string());
        let decimal = |v: i128| PrimitiveArray::from_vec(vec![v]).to(ArrowDataType::Decimal(10, 2)).boxed();
        assert_eq!((key(decimal(-5)), key(decimal(12_345))), ("-0.05".into(), "123.45".into()));
        assert_eq!(key(BooleanArray::from_slice([true]).boxed()), "true");
        assert_eq!(key(PrimitiveArray::<i64>::from(vec![None]).boxed()), "");
    }
}
