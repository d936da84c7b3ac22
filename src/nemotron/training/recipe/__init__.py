"""Build Megatron-Bridge's ConfigContainer, and compare it with its recipe."""
