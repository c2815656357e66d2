"""Tests on a cluster."""
