"""The scripts that jobs run, by model and stage."""
