"""What data prep leaves behind: counts, metadata, report, dropped rows, the published folder."""
