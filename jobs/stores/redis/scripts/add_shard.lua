-- KEYS: meta, shard, input, running, results, open. ARGV: index, number of lines, packed prompts, then what is known of
-- the lines before any is run: in MessagePack an array of {index, completion, finish reason, prompt tokens, completion
-- tokens}, and if that is every line, all of them packed, else ''.
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
if redis.call('EXISTS', KEYS[2]) == 1 then
  return 'ok'
end
redis.call('SET', KEYS[3], ARGV[3])
redis.call('HSET', KEYS[2], 'lines', ARGV[2], 'failed', 0)
for _, line in ipairs(cmsgpack.unpack(ARGV[4])) do
  local index, completion, reason, prompt_tokens, completion_tokens = unpack(line)
  if ARGV[5] == '' then
    redis.call('HSET', KEYS[4], index, completion)
  end
  for field, amount in pairs({
    completed = 1,
    reused = 1,
    ['finish_reason:' .. reason] = 1,
    total_input_tokens = prompt_tokens,
    reused_input_tokens = prompt_tokens,
    total_output_tokens = completion_tokens,
    reused_output_tokens = completion_tokens,
  }) do
    redis.call('HINCRBY', KEYS[1], field, amount)
  end
end
if ARGV[5] == '' then
  redis.call('ZADD', KEYS[6], ARGV[1], ARGV[1])
else
  redis.call('SET', KEYS[5], ARGV[5])
  redis.call('HINCRBY', KEYS[1], 'shards_done', 1)
end
return 'ok'
