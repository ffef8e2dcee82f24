"""Fetches a relay's information document for a client.

In a short-lived actor, because it blocks.
"""

import logging
from typing import Final

from gennostr.client.commands import Informed
from gennostr.client.options import Relay
from gennostr.nostr.relay_information import RelayInformation
from gennostr.nostr.relay_url import redact
from gennostr.otp.gen_server import GenServer
from gennostr.otp.outcomes import CallbackOutcome, InitOutcome, Ok, Stop
from gennostr.otp.process import Process
from gennostr.otp.reasons import NORMAL
from gennostr.values import printable, shown

logger = logging.getLogger(__name__)

TIMEOUT: Final = 3.0
"""Seconds for everything together: REQs wait for it meanwhile."""


class InformationFetch(GenServer[None]):
    """Sends the information of a relay, or None, to the client; then ends.

    It also ends with the client.
    """

    def init(self, init_arg: tuple[Process, Relay], /) -> InitOutcome[None]:
        """Continue after start has returned."""
        client, relay = init_arg
        self._url = relay.url
        # Imported on first use: HTTP takes as long to import as all the rest.
        from gennostr.client.information_client import InformationRequest  # noqa: PLC0415

        self._request = InformationRequest(relay, timeout=TIMEOUT)
        # Not linked: a client that traps exits would get the exit of an actor that it did not start.
        if not client.watch(self):
            return Stop(NORMAL)
        self._client = client
        return Ok(continue_=None)

    def handle_continue(self, argument: None, state: None, /) -> CallbackOutcome[None]:
        """Fetch it."""
        del argument, state
        information: RelayInformation | None = None
        try:
            information = self._request.run()
        except Exception as error:  # most relays have none, or an unusual one: all works without
            logger.debug(
                "could not fetch the information document of %s: %s", redact(self._url), printable(shown(error, str))
            )
        self._client.unwatch(self)
        self._client.put_from(self.pid.process, Informed(self._url, information))
        return Stop()

    def down(self, process: Process, reason: object) -> None:
        """End with the client; see `gennostr.otp.process.Watcher`."""
        del process, reason
        self.pid.process.kill()

    def on_cancel(self) -> None:
        """Wake the thread."""
        self._request.cancel()
