"""From YAML to Megatron-Bridge's ConfigContainer, compared with its recipe."""
