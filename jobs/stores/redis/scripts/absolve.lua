-- KEYS: shard. ARGV: token. The worker that had this lease is alive.
absolve(KEYS[1], ARGV[1])
