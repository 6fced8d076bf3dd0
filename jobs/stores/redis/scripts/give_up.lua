-- Close a shard that cannot run. The job continues without the shard's missing lines, and ends as `failed`.
-- `reason` becomes the job's error.
-- Returns 'ended' if this ended the job, else 'ok'. Returns 'lost' when the token is outdated.
local meta, shard, open, leases = unpack(KEYS)
local index, token, reason = ARGV[1], ARGV[2], ARGV[3]
if not may_work(shard, token) then
  return 'lost'
end
local now = now_ms()
count_time(meta, leases, now)
unhold(shard)
redis.call('ZREM', open, index)
redis.call('ZREM', leases, index)
redis.call('HSETNX', meta, 'error', reason)
local ended = end_if_all_done(meta, open, leases, now)
redis.call('HINCRBY', meta, 'shards_done', 1) -- last, because it may fail in a damaged job
return ended == 1 and 'ended' or 'ok'
