"""Check that a domain contains what its name says: languages, tool calls, lengths.

The `checks` of a dataset in a blend turn this on.
"""
