-- Open the failed lines of a closed shard, and with them the job.
-- KEYS: 1 meta, 2 shard, 3 running, 4 results, 5 open.
-- ARGV: 1 index of the shard, 2 number of failed lines when the caller read it, then index and completion of each line
--   that keeps its result.
-- Returns 'ok', or 'no' when the shard or the job has changed since the caller read it.
local state, cancel = unpack(redis.call('HMGET', KEYS[1], 'state', 'cancel_requested'))
if not state or state == 'deleting' or (cancel == '1' and not has_ended(state)) then
  return 'no'
end
-- Only failed lines can change, so an equal number of failed lines means the same failed lines.
if redis.call('EXISTS', KEYS[4]) == 0 or redis.call('HGET', KEYS[2], 'failed') ~= ARGV[2] then
  return 'no'
end
redis.call('DEL', KEYS[4])
redis.call('HINCRBY', KEYS[1], 'failed', -ARGV[2])
reopen(KEYS[1], KEYS[2], KEYS[3], KEYS[5], ARGV, 3)
return 'ok'
