"""Data sets, degradation, training, export, verification and quality benchmarks."""
