-- Open a closed shard that lacks results, and with it the job.
-- KEYS: 1 meta, 2 shard, 3 running, 4 results, 5 open, 6 leases.
-- ARGV: 1 index of the shard, 2 token of the shard when the caller read it, 3 SHA-1 of its compacted results then (of
--   '' if it had none), 4 number of its lines, then index and completion of each line that keeps its result.
-- Returns 'ok', or 'no' when the shard or the job has changed since the caller read it.
local state, cancel = unpack(redis.call('HMGET', KEYS[1], 'state', 'cancel_requested'))
if not state or state == 'deleting' or (cancel == '1' and not has_ended(state)) then
  return 'no'
end
if redis.call('ZSCORE', KEYS[5], ARGV[1]) or redis.call('ZSCORE', KEYS[6], ARGV[1]) then
  return 'no' -- already open
end
local results = redis.pcall('GET', KEYS[4]) -- an error, which is a table, if the key has another type
local digest = redis.sha1hex(type(results) == 'string' and results or '')
if digest ~= ARGV[3] or (redis.call('HGET', KEYS[2], 'token') or '') ~= ARGV[2] then
  return 'no'
end
redis.call('DEL', KEYS[3], KEYS[4])
redis.call('HSET', KEYS[2], 'lines', ARGV[4])
reopen(KEYS[1], KEYS[2], KEYS[3], KEYS[5], ARGV, 5)
return 'ok'
