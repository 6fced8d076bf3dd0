-- KEYS: meta, shard, running, latency. ARGV: token, and in MessagePack an array of lines, each
-- {index, completion, finish reason ('' for an error), prompt tokens, completion tokens, latency}, where latency is
-- {field of the histograms, amount, ...}.
-- Returns how many lines were new, or 'lost'. A line that has a result keeps it.
if not may_work(KEYS[2], ARGV[1]) then
  absolve(KEYS[2], ARGV[1])
  return 'lost'
end
local completed, failed, prompt_tokens, completion_tokens = 0, 0, 0, 0
local totals, latency = {}, {}

local function add(counters, field, amount)
  counters[field] = (counters[field] or 0) + amount
end

for _, line in ipairs(cmsgpack.unpack(ARGV[2])) do
  local index, completion, reason, prompt_count, completion_count, increments = unpack(line)
  if redis.call('HSETNX', KEYS[3], index, completion) == 1 then
    if reason == '' then
      failed = failed + 1
    else
      completed = completed + 1
      add(totals, 'finish_reason:' .. reason, 1)
      prompt_tokens = prompt_tokens + prompt_count
      completion_tokens = completion_tokens + completion_count
    end
    for i = 1, #increments, 2 do
      add(latency, increments[i], increments[i + 1])
    end
  end
end
if completed + failed == 0 then
  return 0
end

local since, till = unpack(redis.call('HMGET', KEYS[1], 'idle_since_ms', 'idle_until_ms'))
if since and till then
  redis.call('HINCRBY', KEYS[1], 'idle_ms', till - since)
  redis.call('HDEL', KEYS[1], 'idle_since_ms', 'idle_until_ms')
end
redis.call('HSET', KEYS[1], 'last_line_at_ms', now_ms())
add(totals, 'completed', completed)
add(totals, 'failed', failed)
add(totals, 'total_input_tokens', prompt_tokens)
add(totals, 'total_output_tokens', completion_tokens)
for field, amount in pairs(totals) do
  redis.call('HINCRBY', KEYS[1], field, amount)
end
for field, amount in pairs(latency) do
  redis.call('HINCRBY', KEYS[4], field, amount)
end
redis.call('HINCRBY', KEYS[2], 'failed', failed)
redis.call('HDEL', KEYS[2], 'lone') -- of the line that was the first without a result
return completed + failed
