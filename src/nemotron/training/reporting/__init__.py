"""Metrics, evaluations, the report, and how failures are reported."""
