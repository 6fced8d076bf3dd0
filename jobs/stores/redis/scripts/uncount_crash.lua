-- Undo the count of an expired lease, because its worker is alive after all.
-- KEYS: 1 shard.
-- ARGV: 1 token of that lease.
absolve(KEYS[1], ARGV[1])
