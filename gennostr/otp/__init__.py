"""Erlang-style actors for threaded programs, independent of Nostr and sockets."""
