"""coincurve, which signs and verifies (BIP-340): an extra, imported on first use."""

from typing import Any


def coincurve() -> Any:
    """Return the module.

    Raises:
        ImportError: it is not installed; the message names the extra.

    """
    try:
        import coincurve as module  # noqa: PLC0415 - an extra: imported only where it is needed
    except ImportError:
        text = "signing events and verifying them need coincurve: pip install 'gennostr[crypto]'"
        raise ImportError(text, name="coincurve") from None
    return module
