//! `model.safetensors`: the arrays of a model.
//!
//! The container is the audited safetensors format. Its own reader checks offsets, holes and overflow; what it leaves
//! open is checked here: values are finite, the header is small, and only `F64` occurs.

use std::borrow::Cow;
use std::collections::HashMap;

use safetensors::tensor::{Dtype, SafeTensors, View, serialize};

use super::Array;
use crate::error::{Error, Kind, Result};

/// Largest header. The format allows 100 MB; a model has a few hundred arrays.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// The single `__metadata__` entry. safetensors keeps them in a hash map, so that a second entry would make equal
/// models differ in their bytes.
const METADATA: (&str, &str) = ("layout", "quietwatch-arrays/1");

struct Doubles<'a>(&'a Array);

impl View for Doubles<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F64
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.0.values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>().into()
    }

    fn data_len(&self) -> usize {
        self.0.values.len() * size_of::<f64>()
    }
}

/// The bytes of `model.safetensors`; the arrays end up sorted by name.
pub(crate) fn encode(arrays: &[Array]) -> Result<Vec<u8>> {
    let mut sorted: Vec<&Array> = arrays.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(twins) = sorted.windows(2).find(|w| w[0].name == w[1].name) {
        return Err(bug(format!("two arrays of the model are named {:?}", twins[0].name)));
    }
    for array in &sorted {
        if elements(&array.shape) != Some(array.values.len()) {
            let (shape, found) = (&array.shape, array.values.len());
            return Err(bug(format!("array {:?} of shape {shape:?} has {found} values", array.name)));
        }
        if let Some(at) = array.values.iter().position(|v| !v.is_finite()) {
            return Err(bug(format!("value {at} of array {:?} is not finite", array.name)));
        }
    }
    let metadata = HashMap::from([(METADATA.0.to_owned(), METADATA.1.to_owned())]);
    let bytes = serialize(sorted.iter().map(|a| (a.name.as_str(), Doubles(a))), Some(metadata))
        .map_err(|e| bug("cannot serialise the arrays of the model").with_source(e))?;
    match header_bytes(&bytes) {
        Some(header) if header <= MAX_HEADER_BYTES => Ok(bytes),
        _ => Err(bug("the model has too many arrays for one file")),
    }
}

/// The arrays of `model.safetensors`, sorted by name.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Array>> {
    match header_bytes(bytes) {
        Some(header) if header <= MAX_HEADER_BYTES => {}
        Some(_) => return Err(unreadable(format!("its header is larger than {MAX_HEADER_BYTES} bytes"))),
        None => return Err(unreadable("it is too short")),
    }
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| unreadable("its header").with_source(e))?;
    let layout = header.metadata().as_ref().and_then(|m| m.get(METADATA.0)).map(String::as_str);
    if layout != Some(METADATA.1) {
        return Err(unreadable(format!("its layout is not {}", METADATA.1)));
    }
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| unreadable("its data").with_source(e))?;
    let mut arrays = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors.tensors() {
        if tensor.dtype() != Dtype::F64 {
            return Err(unreadable(format!("array {name:?} is not F64")));
        }
        let (chunks, _) = tensor.data().as_chunks::<8>();
        let values: Vec<f64> = chunks.iter().map(|c| f64::from_le_bytes(*c)).collect();
        if elements(tensor.shape()) != Some(values.len()) {
            return Err(unreadable(format!("array {name:?} has not the size of its shape")));
        }
        if !values.iter().all(|v| v.is_finite()) {
            return Err(unreadable(format!("array {name:?} holds values that are not finite")));
        }
        arrays.push(Array { name, shape: tensor.shape().to_vec(), values });
    }
    // The container keeps names in a hash map.
    arrays.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(arrays)
}

fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

/// The length that the first eight bytes announce.
fn header_bytes(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk::<8>().map(|b| u64::from_le_bytes(*b))
}

fn bug(message: impl Into<String>) -> Error {
    Error::new(Kind::Bug, message)
}

fn unreadable(what: impl std::fmt::Display) -> Error {
    Error::new(Kind::Model, format!("model.safetensors cannot be used: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn array(name: &str, shape: &[usize], values: &[f64]) -> Array {
        Array { name: name.into(), shape: shape.to_vec(), values: values.to_vec() }
    }

    #[test]
    fn arrays_come_back_sorted_and_bit_equal() {
        let arrays = [
            array("z", &[2, 2], &[0.1, -0.0, f64::MIN_POSITIVE / 2.0, f64::MAX]),
            array("a", &[], &[1.5]),
            array("empty", &[0, 3], &[]),
        ];
        let back = decode(&encode(&arrays).unwrap()).unwrap();
        assert_eq!(back.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(), ["a", "empty", "z"]);
        let bits = |a: &Array| a.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back[2]), bits(&arrays[0]));
        assert_eq!(back[1].shape, [0, 3]);
    }

    #[test]
    fn order_of_the_draft_does_not_reach_the_bytes() {
        let (a, b) = (array("a", &[1], &[1.0]), array("b", &[1], &[2.0]));
        assert_eq!(encode(&[a.clone(), b.clone()]).unwrap(), encode(&[b, a]).unwrap());
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused_both_ways() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(encode(&[array("a", &[1], &[bad])]).unwrap_err().kind(), Kind::Bug);
            let mut bytes = encode(&[array("a", &[1], &[1.0])]).unwrap();
            let at = bytes.len() - 8;
            bytes[at..].copy_from_slice(&bad.to_le_bytes());
            assert_eq!(decode(&bytes).unwrap_err().kind(), Kind::Model);
        }
    }

    #[test]
    fn shapes_must_match_and_names_be_unique() {
        assert!(encode(&[array("a", &[2], &[1.0])]).is_err());
        assert!(encode(&[array("a", &[usize::MAX, 2], &[1.0])]).is_err());
        assert!(encode(&[array("a", &[1], &[1.0]), array("a", &[1], &[1.0])]).is_err());
    }

    #[test]
    fn other_number_types_and_layouts_are_refused() {
        let header = br#"{"__metadata__":{"layout":"quietwatch-arrays/1"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header);
        bytes.extend_from_slice(&[0; 4]);
        assert!(decode(&bytes).unwrap_err().to_string().contains("not F64"));
        let text = String::from_utf8_lossy(&bytes).replace("arrays/1", "arrays/2");
        assert!(decode(text.as_bytes()).unwrap_err().to_string().contains("layout"));
        assert!(decode(&u64::MAX.to_le_bytes()).unwrap_err().to_string().contains("header is larger"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn damaged_bytes_never_panic(cut in 0usize..400, at in 0usize..400, bit in 0u8..8) {
            let mut bytes = encode(&[array("a", &[3], &[1.0, 2.0, 3.0]), array("b", &[], &[4.0])]).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let _ = decode(&bytes);
            bytes.truncate(cut);
            let _ = decode(&bytes);
        }
    }
}
