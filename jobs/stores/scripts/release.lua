-- KEYS: meta, shard, open, leases. ARGV: index, token.
-- Returns 'open' when the shard waits for a worker again, 'paused' when its job is, 'cancelled'
-- when it waits to be closed, or 'lost'.
if redis.call('HGET', KEYS[2], 'held') ~= ARGV[2] then
  absolve(KEYS[2], ARGV[2])
  return 'lost'
end
redis.call('HDEL', KEYS[2], 'held', 'worker')
redis.call('ZREM', KEYS[4], ARGV[1])
open_shard(KEYS[2], KEYS[3], ARGV[1])
local cancel, paused = unpack(redis.call('HMGET', KEYS[1], 'cancel_requested', 'paused'))
return cancel == '1' and 'cancelled' or paused == '1' and 'paused' or 'open'
