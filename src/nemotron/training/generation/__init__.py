"""Generate replies of a run, an export or an artifact with transformers."""
