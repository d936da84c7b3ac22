"""Render conversations with a chat template, as chunks of text by role."""
