"""From rows in any dialect to normalised conversations.

Or the named reason why not.
"""
