//! Merging four shards' rows, 100,000 each: rows per second (best of some rounds), and allocations per row.

#![allow(clippy::print_stdout)] // a benchmark's only way to speak
#![allow(clippy::expect_used)]
#![allow(unsafe_code)] // an allocator that counts

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tidegate::merge::{
    Arrival, Bounds, Combine, Fold, Format, Groups, Key, Merger, Output, Pad, Spec, Step, Want,
};
use tidegate::wire::column::{BINARY_CHARSET, Column, kind};
use tidegate::wire::frame::put_lenenc_string;

const SHARDS: usize = 4;
const ROWS: usize = 100_000;
const ROUNDS: usize = 7;

const BOUNDS: Bounds = Bounds { memory_max: 256 << 20, sort_length_max: 1024 };

/// utf8mb4_0900_ai_ci.
const UTF8: u16 = 255;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller has it.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller has it.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn main() {
    let columns = [
        column(kind::LONGLONG, BINARY_CHARSET),
        column(kind::VAR_STRING, UTF8),
        column(kind::VAR_STRING, BINARY_CHARSET),
    ];
    let shards: Vec<Vec<Vec<u8>>> = (0..SHARDS)
        .map(|shard| (0..ROWS).map(|row| encode(row * SHARDS + (row * 7 + shard) % SHARDS)).collect())
        .collect();
    let by_number = || Arrival::Sorted(vec![Key::at(0)]);
    let weighed = Key::at(1).weighed(2, Pad::None);
    let folds = [(0, Fold::Count), (1, Fold::Any)];
    let outputs = folds.into_iter().map(|(place, fold)| Output { place, fold }).collect::<Vec<_>>();
    let grouped = |key| Combine::Groups(Groups { keys: vec![key], outputs: outputs.clone(), always: false });
    let specs = [
        ("all rows", Spec { hidden: 1, ..Spec::default() }),
        ("ORDER BY a number", Spec { arrival: by_number(), hidden: 1, ..Spec::default() }),
        (
            "ORDER BY a text",
            Spec { arrival: Arrival::Sorted(vec![weighed.clone()]), hidden: 1, ..Spec::default() },
        ),
        ("GROUP BY, sorted", Spec { arrival: by_number(), combine: grouped(Key::at(0)), ..Spec::default() }),
        ("GROUP BY, any order", Spec { combine: grouped(weighed), ..Spec::default() }),
        (
            "DISTINCT, sorted",
            Spec { arrival: by_number(), combine: Combine::Distinct(vec![Key::at(0)]), ..Spec::default() },
        ),
    ];
    println!("{:<20} {:>12} {:>12} {:>16}", "merge", "rows/s", "ns/row", "allocations/row");
    for (name, spec) in &specs {
        let (mut best, mut allocations) = (f64::INFINITY, 0);
        for _ in 0..ROUNDS {
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            let start = Instant::now();
            black_box(run(spec, &columns, &shards));
            best = best.min(start.elapsed().as_secs_f64());
            allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        }
        let rows = (SHARDS * ROWS) as f64;
        println!(
            "{name:<20} {:>12.0} {:>12.0} {:>16.4}",
            rows / best,
            best / rows * 1e9,
            allocations as f64 / rows
        );
    }
}

fn run(spec: &Spec, columns: &[Column], shards: &[Vec<Vec<u8>>]) -> usize {
    let mut merger = Merger::new(spec, columns, Format::Text, SHARDS, BOUNDS).expect("columns can be merged");
    let mut next = [0; SHARDS];
    let (mut out, mut bytes) = (Vec::new(), 0);
    let mut turn = 0;
    loop {
        out.clear();
        match merger.next(&mut out).expect("rows in order") {
            Step::Row => bytes += out.len(),
            Step::Done => return bytes,
            Step::Wants(want) => {
                let shard = match want {
                    Want::Shard(shard) => shard,
                    Want::Any => {
                        while next[turn % SHARDS] > ROWS {
                            turn += 1;
                        }
                        turn % SHARDS
                    }
                };
                turn += 1;
                next[shard] += 1;
                match shards[shard].get(next[shard] - 1) {
                    Some(row) => merger.push(shard, row),
                    None => merger.ended(shard),
                }
                .expect("what was wanted");
            }
        }
    }
}

fn column(kind: u8, charset: u16) -> Column {
    let mut payload = b"\x03def\x04shop\x01t\x01t\x01c\x01c\x0c".to_vec();
    payload.extend_from_slice(&charset.to_le_bytes());
    payload.extend_from_slice(&80u32.to_le_bytes());
    payload.extend_from_slice(&[kind, 0, 0, 0, 0, 0]);
    Column::parse(&payload).expect("a definition")
}

/// A number, a text of 40 characters, its weight.
fn encode(number: usize) -> Vec<u8> {
    let mut row = Vec::new();
    let text = format!("{number:020}-68487932199-964394");
    let weight: Vec<u8> = text.bytes().flat_map(|byte| [0x1c, byte]).collect();
    put_lenenc_string(&mut row, number.to_string().as_bytes());
    put_lenenc_string(&mut row, text.as_bytes());
    put_lenenc_string(&mut row, &weight);
    row
}
