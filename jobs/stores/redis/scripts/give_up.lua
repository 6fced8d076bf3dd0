-- KEYS: meta, shard, open, leases. ARGV: index, token, why.
-- Takes a shard that cannot be run away from all workers, so that the job ends without its missing lines, as `failed`.
-- Returns 'ended' or 'ok', or 'lost'.
if not may_work(KEYS[2], ARGV[2]) then
  return 'lost'
end
local now = now_ms()
count_time(KEYS[1], KEYS[4], now)
unhold(KEYS[2])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('HSETNX', KEYS[1], 'error', ARGV[3])
local ended = end_if_all_done(KEYS[1], KEYS[3], KEYS[4], now)
redis.call('HINCRBY', KEYS[1], 'shards_done', 1) -- last: in a damaged job this may be what fails
return ended == 1 and 'ended' or 'ok'
