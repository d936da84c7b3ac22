"""Which conversations are used, how often, and in which split."""
