"""A row of chat data: formats, conversation, template, chunks of text by role."""
