"""Whether a domain holds what its name says: languages, tool calls, lengths, as a blend's `checks` ask for."""
