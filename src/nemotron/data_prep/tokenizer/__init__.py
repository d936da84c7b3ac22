"""A tokenizer: its files, what is known about it, and what encodes with it."""
