"""`gennostr.otp.telemetry` under its public name.

It is the same module, and not a second one with the same functions: so ``help`` shows its table here too.
"""

import sys

from gennostr.otp import telemetry
from gennostr.otp.telemetry import HIGH_WATER, Handler, attach, detach

__all__ = ["HIGH_WATER", "Handler", "attach", "detach"]  # what type checkers see

# An import statement binds what it finds here when the module has run ("The import system" in Python's reference).
sys.modules[__name__] = telemetry
