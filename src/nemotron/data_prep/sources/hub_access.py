"""Find out at once whether the Hugging Face hub can be reached.

Its libraries try for a minute and a half before they say that it cannot.
"""

import os
import socket
from urllib.parse import urlsplit

HUB = "https://huggingface.co"


def is_offline() -> bool:
    """Tell whether HF_HUB_OFFLINE asks for the cache only."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")


def connect(seconds: float) -> str:
    """Open a connection to the hub, or to the endpoint or proxy that replaces it.

    Args:
        seconds: How long to wait for each of its addresses.

    Returns:
        What answered, for people.

    Raises:
        OSError: Nothing did.
        ValueError: HF_ENDPOINT or https_proxy is not an address.
    """
    endpoint = os.environ.get("HF_ENDPOINT") or HUB
    proxy = os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY")
    parts = urlsplit(proxy or endpoint)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    with socket.create_connection((parts.hostname or "", port), timeout=seconds):
        name = urlsplit(endpoint).hostname or endpoint
        return f"{name} through a proxy" if proxy else name


def is_reachable(seconds: float = 5.0) -> bool:
    """Tell whether a download may be tried."""
    try:
        connect(seconds)
    except (OSError, ValueError):
        return False
    return True
