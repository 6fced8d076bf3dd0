-- Open the failed lines of a closed shard, and with them the job.
-- `failed_read` is the number of failed lines when the caller read them. `codes_read` is a MessagePack map from each
-- error code to the number of these lines. Further arguments: index and completion of each line that keeps its result.
-- Returns 'ok', or 'no' when the shard or the job has changed since the caller read it.
local meta, shard, running, results, open = unpack(KEYS)
local index, failed_read, codes_read = ARGV[1], ARGV[2], ARGV[3]
local state, cancel = unpack(redis.call('HMGET', meta, 'state', 'cancel_requested'))
if not state or state == 'deleting' or (cancel == '1' and not has_ended(state)) then
  return 'no'
end
-- Only failed lines can change, so an equal number of failed lines means the same failed lines.
if redis.call('EXISTS', results) == 0 or redis.call('HGET', shard, 'failed') ~= failed_read then
  return 'no'
end
redis.call('DEL', results)
redis.call('HINCRBY', meta, 'failed', -failed_read)
for code, count in pairs(cmsgpack.unpack(codes_read)) do
  count_errors(meta, code, -count)
end
reopen(meta, shard, running, open, ARGV, 4)
return 'ok'
