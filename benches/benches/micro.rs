//! What the smallest steps of a measurement cost by themselves: a flow's step, a sample of a latency
//! histogram, and a turn of a ring whose operations do nothing.
//!
//! They bound what can be saved: the kernel's own work on a message is a thousand times a step.
#![allow(clippy::disallowed_methods, reason = "a benchmark ends with whoever runs it")]

use std::hint::black_box;
use std::io::Write;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hdrhistogram::Histogram;
use ringperf_engine::micro::{Nops, StreamSteps};

fn flow_step(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("flow step");
    for batch in [1, 64] {
        let mut steps = StreamSteps::new(1000, batch);
        group.throughput(Throughput::Elements(u64::from(batch)));
        group.bench_function(format!("stream sender, batches of {batch}"), |bencher| {
            bencher.iter(|| steps.batch());
        });
    }
    group.finish();
}

/// The bounds that latencies of a network need: one nanosecond to a minute, to three digits.
fn histogram(criterion: &mut Criterion) {
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).expect("bounds are in order");
    let mut value = 1_u64;
    criterion.bench_function("histogram, one sample", |bencher| {
        bencher.iter(|| {
            // Spreads over all magnitudes, as latencies do not, so that no bucket stays in the cache.
            value = value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            histogram.saturating_record(black_box(value >> 28));
        });
    });
    assert!(!histogram.is_empty());
}

fn ring_nop(criterion: &mut Criterion) {
    let mut ring = match Nops::open() {
        Ok(ring) => ring,
        Err(refused) => {
            drop(writeln!(std::io::stderr(), "SKIP a ring that does nothing: {refused}"));
            return;
        }
    };
    let mut group = criterion.benchmark_group("ring nop");
    for operations in [1, 8, 64] {
        group.throughput(Throughput::Elements(u64::from(operations)));
        group.bench_function(format!("turn of {operations}"), |bencher| {
            bencher.iter(|| assert_eq!(ring.turn(operations), operations));
        });
    }
    group.finish();
}

criterion_group!(benches, flow_step, histogram, ring_nop);
criterion_main!(benches);
