"""The profiles of env.toml, where jobs run: read with their bases, checked, typed."""
