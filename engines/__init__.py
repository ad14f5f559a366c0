"""Weights to something fast: pictures, restorers, run-time backends and the bundles they come in."""
