"""What data prep writes: counts, metadata, report, dropped rows, the output."""
