"""Select the conversations to use, how often, and in which split."""
