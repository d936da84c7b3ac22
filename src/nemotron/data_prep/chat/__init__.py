"""A row of chat data, understood: formats, conversation, template, chunks of text by role."""
