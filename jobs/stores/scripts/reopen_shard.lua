-- KEYS: meta, shard, running, results, open. ARGV: index, failed lines it must have, then index and completion of each
-- line that keeps its result. Opens the failed lines again, and with them the job.
-- Returns 'ok', or 'no' when the shard or the job has changed since it was read.
local state, cancel = unpack(redis.call('HMGET', KEYS[1], 'state', 'cancel_requested'))
if not state or state == 'deleting' or (cancel == '1' and not has_ended(state)) then
  return 'no'
end
-- Only failed lines run again: a shard with as many failed lines as when it was read has the same ones.
if redis.call('EXISTS', KEYS[4]) == 0 or redis.call('HGET', KEYS[2], 'failed') ~= ARGV[2] then
  return 'no'
end
redis.call('DEL', KEYS[4])
for i = 3, #ARGV, 2 do
  redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1])
end
redis.call('HSET', KEYS[2], 'failed', 0, 'attempts', 0, 'expiries', 0)
redis.call('HDEL', KEYS[2], 'alone', 'lone')
redis.call('ZADD', KEYS[5], ARGV[1], ARGV[1])
redis.call('HINCRBY', KEYS[1], 'failed', -ARGV[2])
redis.call('HINCRBY', KEYS[1], 'shards_done', -1)
if has_ended(state) then
  redis.call('HSET', KEYS[1], 'state', 'queued')
  redis.call('HDEL', KEYS[1], 'cancel_requested', 'expired', 'deadline_ms', 'paused', 'ended_at_ms', 'error')
end
return 'ok'
