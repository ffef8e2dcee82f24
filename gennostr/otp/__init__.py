"""Erlang-style actors for threaded programs, independent of Nostr and sockets.

Its public names are those of `gennostr`. Each module is one concept of Erlang/OTP: `gen_server`, `supervisor`,
`dynamic_supervisor`, `registry`, `process` (links, monitors, kill), `timers`, and so on. `gennostr.guide.operations`
lists its log records, `gennostr.telemetry` its events.
"""
