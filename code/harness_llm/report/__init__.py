"""One page about finished or broken runs: what came out, where the time went, what to do about it."""
