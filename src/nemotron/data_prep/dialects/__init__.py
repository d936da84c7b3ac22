"""Rows in the dialects people have them in -> normalised conversations, or the named reason why not."""
