-- KEYS: meta, shard, open, leases. ARGV: index, token.
-- Returns 'open' when the shard waits for a worker again, 'paused' when its job is, 'cancelled'
-- when it waits to be closed, or 'lost'.
if redis.call('HGET', KEYS[2], 'held') ~= ARGV[2] then
  absolve(KEYS[2], ARGV[2])
  if redis.call('HGET', KEYS[2], 'backup') == ARGV[2] then
    redis.call('HDEL', KEYS[2], 'backup', 'backup_until_ms') -- its holder goes on
  end
  return 'lost'
end
count_time(KEYS[1], KEYS[4], now_ms())
unhold(KEYS[2])
redis.call('ZREM', KEYS[4], ARGV[1])
open_shard(KEYS[2], KEYS[3], ARGV[1])
local cancel, paused = unpack(redis.call('HMGET', KEYS[1], 'cancel_requested', 'paused'))
return cancel == '1' and 'cancelled' or paused == '1' and 'paused' or 'open'
