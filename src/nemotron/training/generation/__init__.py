"""What a model says now: from a run or an export to replies, through transformers."""
