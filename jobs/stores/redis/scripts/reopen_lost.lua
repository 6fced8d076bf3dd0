-- Open a closed shard that lacks results, and with it the job.
-- `token_read` is the shard's token when the caller read it. `digest_read` is the SHA-1 that its compacted results had
-- then, or the SHA-1 of '' if it had none. Further arguments: index and completion of each line that keeps its result.
-- Returns 'ok', or 'no' when the shard or the job has changed since the caller read it.
local meta, shard, running, results, open, leases = unpack(KEYS)
local index, token_read, digest_read, num_lines = unpack(ARGV, 1, 4)
local state, cancel = unpack(redis.call('HMGET', meta, 'state', 'cancel_requested'))
if not state or state == 'deleting' or (cancel == '1' and not has_ended(state)) then
  return 'no'
end
if redis.call('ZSCORE', open, index) or redis.call('ZSCORE', leases, index) then
  return 'no' -- already open
end
local packed = redis.pcall('GET', results) -- an error, which is a table, if the key has another type
local digest = redis.sha1hex(type(packed) == 'string' and packed or '')
if digest ~= digest_read or (redis.call('HGET', shard, 'token') or '') ~= token_read then
  return 'no'
end
redis.call('DEL', running, results)
redis.call('HSET', shard, 'lines', num_lines)
reopen(meta, shard, running, open, ARGV, 5)
return 'ok'
