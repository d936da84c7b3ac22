"""The error of this package."""

from nemotron.errors import UserError


class ConfigError(UserError):
    """A config file, an override or an interpolation that cannot be used.

    The message names the key and its origin.
    """
