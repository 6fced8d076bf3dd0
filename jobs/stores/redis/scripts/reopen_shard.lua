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
redis.call('HINCRBY', KEYS[1], 'failed', -ARGV[2])
reopen(KEYS[1], KEYS[2], KEYS[3], KEYS[5], ARGV, 3)
return 'ok'
