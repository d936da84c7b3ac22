"""From YAML to Megatron-Bridge's ConfigContainer, and what differs from its own recipe."""
