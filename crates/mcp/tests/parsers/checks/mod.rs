//! What must hold for any bytes whatsoever: run over the corpus and random input here, and by the fuzz targets of `tests/fuzz`.

pub(crate) mod batch;
pub(crate) mod envelope;
pub(crate) mod header;
pub(crate) mod list;
pub(crate) mod names;
pub(crate) mod reference;
pub(crate) mod rewrite;
pub(crate) mod splicer;
pub(crate) mod sse;
pub(crate) mod text;

/// Panics if bytes show that something does not hold.
pub(crate) type Check = fn(&[u8]);

/// Each check, by the name of its fuzz target and of its folder in the corpus.
pub(crate) const ALL: &[(&str, Check)] = &[
    ("batch", batch::check),
    ("envelope", envelope::check),
    ("header", header::check),
    ("list", list::check),
    ("names", names::check),
    ("rewrite", rewrite::check),
    ("splicer", splicer::check),
    ("sse", sse::check),
    ("text", text::check),
];

/// Ways to cut bytes into chunks: as one, each alone, some at a time, and cuts that the bytes themselves choose.
pub(crate) fn chunkings(bytes: &[u8]) -> Vec<Vec<&[u8]>> {
    // Of what is long, small pieces would take most of the time and show no more.
    let (sizes, most): (&[usize], &[usize]) =
        if bytes.len() <= 512 { (&[1, 2, 3, 7, 64], &[4, 16, 256]) } else { (&[61], &[256]) };
    let mut all: Vec<Vec<&[u8]>> = sizes.iter().map(|size| bytes.chunks(*size).collect()).collect();
    let mut state =
        bytes.iter().fold(0x9e37_79b9_u32, |state, byte| (state ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    for most in most {
        let (mut rest, mut chunks) = (bytes, Vec::new());
        while !rest.is_empty() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Chunks may be empty.
            let (chunk, after) = rest.split_at(((state >> 16) as usize % most).min(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        all.push(chunks);
    }
    all
}
