"""Choose a reasoning mode for each conversation: off, low effort, a budget or on."""
