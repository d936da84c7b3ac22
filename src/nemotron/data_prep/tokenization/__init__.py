"""Turn chunks of text into tokens and a loss mask, one part of a file at a time."""
