"""Chunks of text into tokens and their loss mask, a part of a file at a time."""
