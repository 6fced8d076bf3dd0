-- KEYS: meta, shard, running, results, open, leases. ARGV: index, the shard's token when it was read, the SHA-1 of its
-- compacted results (of '' if it had none), the number of its lines, then index and completion of each line that keeps
-- its result. Opens the other lines of a closed shard that lacks results, and with them the job.
-- Returns 'ok', or 'no' when the shard or the job has changed since it was read.
local state, cancel = unpack(redis.call('HMGET', KEYS[1], 'state', 'cancel_requested'))
if not state or state == 'deleting' or (cancel == '1' and not has_ended(state)) then
  return 'no'
end
if redis.call('ZSCORE', KEYS[5], ARGV[1]) or redis.call('ZSCORE', KEYS[6], ARGV[1]) then
  return 'no' -- it is open already
end
local results = redis.pcall('GET', KEYS[4]) -- of another type: an error, which is a table
local digest = redis.sha1hex(type(results) == 'string' and results or '')
if digest ~= ARGV[3] or (redis.call('HGET', KEYS[2], 'token') or '') ~= ARGV[2] then
  return 'no'
end
redis.call('DEL', KEYS[3], KEYS[4])
redis.call('HSET', KEYS[2], 'lines', ARGV[4])
reopen(KEYS[1], KEYS[2], KEYS[3], KEYS[5], ARGV, 5)
return 'ok'
