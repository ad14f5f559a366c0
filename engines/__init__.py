"""Weights to something fast: pictures, restorers, run-time backends and their bundles."""
