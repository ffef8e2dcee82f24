"""The Nostr client, on the OTP layer and the protocol.

Only here do the two meet.
"""
