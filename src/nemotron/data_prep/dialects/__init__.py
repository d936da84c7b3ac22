"""Normalise rows in any dialect to conversations, or say why they cannot be."""
