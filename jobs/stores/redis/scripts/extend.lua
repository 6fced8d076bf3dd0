-- KEYS: meta, open, then the shard and the input of each new shard. ARGV: how many lines the job must have (they only
-- grow, so they are its version), the spec as it shall be, then index, number of lines and packed prompts of each new shard.
-- Returns 'ok', 'missing', 'changed', 'ending', or the state that forbids it.
local state, cancel, spec = unpack(redis.call('HMGET', KEYS[1], 'state', 'cancel_requested', 'spec'))
if not state or state == 'deleting' then
  return 'missing'
end
if state ~= 'queued' and state ~= 'in_progress' and state ~= 'completed' then
  return state
end
if cancel == '1' then
  return 'ending'
end
if cjson.decode(spec).num_lines ~= tonumber(ARGV[1]) then
  return 'changed'
end
redis.call('HSET', KEYS[1], 'spec', ARGV[2])
for i = 0, (#ARGV - 2) / 3 - 1 do
  local index, lines, prompts = ARGV[3 * i + 3], ARGV[3 * i + 4], ARGV[3 * i + 5]
  redis.call('HSET', KEYS[2 * i + 3], 'lines', lines, 'failed', 0)
  redis.call('SET', KEYS[2 * i + 4], prompts)
  redis.call('ZADD', KEYS[2], index, index)
end
if state == 'completed' then
  redis.call('HSET', KEYS[1], 'state', 'queued')
  redis.call('HDEL', KEYS[1], 'paused', 'deadline_ms', 'ended_at_ms')
end
return 'ok'
