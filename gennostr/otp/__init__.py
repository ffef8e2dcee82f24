"""Erlang-style actors for threaded programs; knows nothing of Nostr or sockets."""
