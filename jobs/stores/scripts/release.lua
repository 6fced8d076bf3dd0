-- KEYS: meta, shard, open, leases. ARGV: index, token.
-- Returns 'open' when the shard waits for a worker again, 'cancelled' when it waits to be closed, or 'lost'.
if redis.call('HGET', KEYS[2], 'held') ~= ARGV[2] then
  absolve(KEYS[2], ARGV[2])
  return 'lost'
end
redis.call('HDEL', KEYS[2], 'held', 'worker')
redis.call('ZREM', KEYS[4], ARGV[1])
open_shard(KEYS[2], KEYS[3], ARGV[1])
return redis.call('HGET', KEYS[1], 'cancel_requested') == '1' and 'cancelled' or 'open'
