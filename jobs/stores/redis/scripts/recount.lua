-- KEYS: meta, latency. ARGV: completed and failed lines that the job must have, then in MessagePack the fields of `meta`
-- that count lines and tokens, and all fields of `latency`.
-- Sets the counters of an ended job of which results are gone. Returns 'ok', or 'changed' when it is not as it was read.
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
