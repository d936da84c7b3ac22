"""What the bundled tiny chat data is made of: one module per kind of conversation. Run tools/make_tiny_data.py."""
