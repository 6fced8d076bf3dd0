-- KEYS: meta, shard, leases. ARGV: index, token, time to live in ms. Returns 'held', 'cancelled' (or past its deadline), 'paused' or 'lost'.
-- A lease that has expired but that nobody took is still its holder's.
if not may_work(KEYS[2], ARGV[2]) then
  absolve(KEYS[2], ARGV[2])
  return 'lost'
end
if redis.call('HGET', KEYS[2], 'held') == ARGV[2] then
  count_time(KEYS[1], KEYS[3], now_ms())
  redis.call('ZADD', KEYS[3], now_ms() + time_to_live(KEYS[2], ARGV[3]), ARGV[1])
else
  redis.call('HSET', KEYS[2], 'backup_until_ms', now_ms() + ARGV[3])
end
local cancel, paused = unpack(redis.call('HMGET', KEYS[1], 'cancel_requested', 'paused'))
return cancel == '1' and 'cancelled' or paused == '1' and 'paused' or 'held'
