-- Add shards to a job. A completed job is queued again.
-- `num_lines` is the number of lines that the job must have. The number only grows, so it serves as the job's version.
-- `new_spec` is JSON. Further keys per new shard: shard, input. Further arguments per new shard: index, number of
-- lines, packed prompts.
-- Returns 'ok', 'missing', 'changed', 'ending', or the state that forbids it.
local meta, open = KEYS[1], KEYS[2]
local num_lines, new_spec = ARGV[1], ARGV[2]
local state, cancel, spec = unpack(redis.call('HMGET', meta, 'state', 'cancel_requested', 'spec'))
if not state or state == 'deleting' then
  return 'missing'
end
if state ~= 'queued' and state ~= 'in_progress' and state ~= 'completed' then
  return state
end
if cancel == '1' then
  return 'ending'
end
if cjson.decode(spec).num_lines ~= tonumber(num_lines) then
  return 'changed'
end
redis.call('HSET', meta, 'spec', new_spec)
for i = 0, (#ARGV - 2) / 3 - 1 do
  local shard, input = KEYS[2 * i + 3], KEYS[2 * i + 4]
  local index, lines, prompts = ARGV[3 * i + 3], ARGV[3 * i + 4], ARGV[3 * i + 5]
  redis.call('HSET', shard, 'lines', lines, 'failed', 0)
  redis.call('SET', input, prompts)
  redis.call('ZADD', open, index, index)
end
if state == 'completed' then
  redis.call('HSET', meta, 'state', 'queued')
  redis.call('HDEL', meta, 'paused', 'deadline_ms', 'ended_at_ms')
end
return 'ok'
