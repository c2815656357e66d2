"""Benchmarks; `./dev bench` runs them."""
