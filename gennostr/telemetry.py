"""The telemetry functions under their public name; see `gennostr.otp.telemetry`.

It is the same module object, not a second module with the same functions, so ``help`` shows its table here too.
"""

import sys

from gennostr.otp import telemetry
from gennostr.otp.telemetry import HIGH_WATER, Handler, attach, detach

__all__ = ["HIGH_WATER", "Handler", "attach", "detach"]  # what type checkers see

# An import statement binds what it finds in sys.modules after the module has run (Python's reference, "The import
# system").
sys.modules[__name__] = telemetry
