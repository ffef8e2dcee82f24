"""The Nostr client, on the OTP layer and the protocol: the only place where the two meet."""
