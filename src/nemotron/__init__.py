"""The supervised fine-tuning stage of Nemotron 3 Super."""
