"""The device's own proof of a bundle: its checks, its result, and the memory of earlier proofs."""
