-- Store a shard of a job that is being submitted. Storing it again changes nothing.
-- `prompts` is packed. `known` is a MessagePack array with {line index, completion, finish reason, prompt tokens,
-- completion tokens, map of further amounts} per known completion. `packed_results` is '' unless the completion of every line is known.
-- Returns 'ok', 'cancelled', 'missing', or the state that forbids it.
local meta, shard, input, running, results, open = unpack(KEYS)
local index, num_lines, prompts, known, packed_results = unpack(ARGV)
local state = state_of_submission(meta)
if state ~= 'validating' then
  return state
end
if redis.call('EXISTS', shard) == 1 then
  return 'ok'
end
redis.call('SET', input, prompts)
redis.call('HSET', shard, 'lines', num_lines, 'failed', 0)
for _, line in ipairs(cmsgpack.unpack(known)) do
  local line_index, completion, reason, prompt_tokens, completion_tokens, amounts = unpack(line)
  if packed_results == '' then
    redis.call('HSET', running, line_index, completion)
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
    redis.call('HINCRBY', meta, field, amount)
  end
  for name, amount in pairs(amounts) do
    redis.call('HINCRBY', meta, name, amount)
  end
end
if packed_results == '' then
  redis.call('ZADD', open, index, index)
else
  redis.call('SET', results, packed_results)
  redis.call('HINCRBY', meta, 'shards_done', 1)
end
return 'ok'
