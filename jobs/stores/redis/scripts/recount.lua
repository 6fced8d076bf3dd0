-- Set the counters of an ended job that has lost results.
-- KEYS: 1 meta, 2 latency.
-- ARGV: 1 and 2 number of completed and of failed lines when the caller read the job, 3 new counters in `meta`
--   (MessagePack map), 4 all new fields of `latency` (MessagePack map).
-- Returns 'ok', or 'changed' when the job has changed since the caller read it.
local state, completed, failed = unpack(redis.call('HMGET', KEYS[1], 'state', 'completed', 'failed'))
if not has_ended(state) or (completed or '0') ~= ARGV[1] or (failed or '0') ~= ARGV[2] then
  return 'changed'
end
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.find(field, 'finish_reason:', 1, true) == 1 then
    redis.call('HDEL', KEYS[1], field)
  end
end
redis.call('DEL', KEYS[2])
for place, key in ipairs(KEYS) do
  for field, value in pairs(cmsgpack.unpack(ARGV[2 + place])) do
    redis.call('HSET', key, field, value)
  end
end
return 'ok'
