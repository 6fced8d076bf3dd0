-- KEYS: meta, shard, input, open. ARGV: index, number of lines, packed prompts.
-- Storing a shard again changes nothing. Returns 'ok', 'cancelled', 'missing', or the state that forbids it.
local state, cancel = unpack(redis.call('HMGET', KEYS[1], 'state', 'cancel_requested'))
if not state or state == 'deleting' then
  return 'missing'
end
if cancel == '1' then
  return 'cancelled'
end
if state ~= 'validating' then
  return state
end
redis.call('SET', KEYS[3], ARGV[3])
redis.call('HSET', KEYS[2], 'lines', ARGV[2], 'failed', 0)
redis.call('ZADD', KEYS[4], ARGV[1], ARGV[1])
return 'ok'
