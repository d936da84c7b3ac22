"""Define the error that a config raises."""

from nemotron.errors import UserError


class ConfigError(UserError):
    """A config file, an override or an interpolation is not usable.

    The message names the key and where it was written.
    """
