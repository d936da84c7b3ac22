"""Who says which tokens: system, user, tools, or the assistant, and how."""
