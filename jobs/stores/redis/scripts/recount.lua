-- Set the counters of an ended job that has lost results.
-- `completed_read` and `failed_read` are the job's numbers of lines when the caller read it. The other two arguments
-- are MessagePack maps: new counters in `meta`, and all new fields of `latency`.
-- Returns 'ok', or 'changed' when the job has changed since the caller read it.
local meta, latency = KEYS[1], KEYS[2]
local completed_read, failed_read = ARGV[1], ARGV[2]
local state, completed, failed = unpack(redis.call('HMGET', meta, 'state', 'completed', 'failed'))
if not has_ended(state) or (completed or '0') ~= completed_read or (failed or '0') ~= failed_read then
  return 'changed'
end
for _, field in ipairs(redis.call('HKEYS', meta)) do
  if field:find(FINISH_REASON, 1, true) == 1 or field:find(ERROR_CODE, 1, true) == 1 then
    redis.call('HDEL', meta, field)
  end
end
redis.call('DEL', latency)
for place, key in ipairs(KEYS) do
  for field, value in pairs(cmsgpack.unpack(ARGV[2 + place])) do
    redis.call('HSET', key, field, value)
  end
end
return 'ok'
