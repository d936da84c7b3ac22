"""Whether a domain holds what its name says: languages, tool calls, lengths.

A blend's `checks` ask for it.
"""
