"""Scripts that jobs run, by model and stage."""
