"""The guide: one page a topic, offline.

Read a page with ``gennostr guide supervision`` or ``python -m pydoc gennostr.guide.supervision``. Each page shows first
what it is about, running, and explains it afterwards. Its examples are part of the test suite.

Start here:

- `tutorial`: a supervised word counter, then a bot that answers on Nostr

Actors:

- `actors`: servers, calls, casts and messages
- `supervision`: restarts, child specs, strategies, links and monitors
- `names_and_registries`: find actors by name, or by key
- `timeouts_and_timers`: how long things may take, and what happens later
- `embedding`: in threads, web servers, asyncio, with signals, fork and exit
- `jobs_and_pools`: periodic jobs and worker pools
- `testing`: test actors and clients
- `operations`: logs, telemetry, and a look inside a running program

Nostr:

- `nostr_client`: connect to relays, and what the callbacks are
- `subscriptions`: events without gaps, and stored events
- `publishing`: events, their signatures, and their outcome at each relay
- `authentication`: keys, signers, and relays that want to know the client
- `persistence`: a client that resumes after its end, and tables of its own beside it
- `cluster`: one client class on several processes

To look up:

- `from_elixir`: the same thing here, for readers who know Elixir or Erlang
- `from_pykka`: what is added to pykka
- `limitations`: what the library does not do
- `security`: what a hostile relay can do, and the limits that hold
- `performance`: what was measured, and how to measure it again

`gennostr guide NAME` shows the entry of a public name, such as ``gennostr guide Supervisor``.
"""

TOPICS = (
    "tutorial",
    "actors",
    "supervision",
    "names_and_registries",
    "timeouts_and_timers",
    "embedding",
    "jobs_and_pools",
    "testing",
    "operations",
    "nostr_client",
    "subscriptions",
    "publishing",
    "authentication",
    "persistence",
    "cluster",
    "from_elixir",
    "from_pykka",
    "limitations",
    "security",
    "performance",
)
