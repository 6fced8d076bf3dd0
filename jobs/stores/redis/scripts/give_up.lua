-- Close a shard that cannot run. The job continues without the shard's missing lines, and ends as `failed`.
-- KEYS: 1 meta, 2 shard, 3 open, 4 leases.
-- ARGV: 1 index of the shard, 2 token, 3 reason, which becomes the job's error.
-- Returns 'ended' if this ended the job, else 'ok'. Returns 'lost' when the token is outdated.
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
redis.call('HINCRBY', KEYS[1], 'shards_done', 1) -- last, because it may fail in a damaged job
return ended == 1 and 'ended' or 'ok'
