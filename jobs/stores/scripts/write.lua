-- KEYS: meta, shard, running, latency. ARGV: token, then 6 values a line: index, completion, finish reason ('' for an
-- error), prompt tokens, completion tokens, and the increments of the latency histograms as a MessagePack array
-- {field, amount, ...}.
-- Returns how many lines were new, or 'lost'. A line that has a result keeps it.
if redis.call('HGET', KEYS[2], 'held') ~= ARGV[1] then
  return 'lost'
end
local completed, failed, prompt_tokens, completion_tokens = 0, 0, 0, 0
local totals, latency = {}, {}

local function add(counters, field, amount)
  counters[field] = (counters[field] or 0) + amount
end

for i = 2, #ARGV, 6 do
  if redis.call('HSETNX', KEYS[3], ARGV[i], ARGV[i + 1]) == 1 then
    local reason = ARGV[i + 2]
    if reason == '' then
      failed = failed + 1
    else
      completed = completed + 1
      add(totals, 'finish_reason:' .. reason, 1)
      prompt_tokens = prompt_tokens + ARGV[i + 3]
      completion_tokens = completion_tokens + ARGV[i + 4]
    end
    local fields = cmsgpack.unpack(ARGV[i + 5])
    for j = 1, #fields, 2 do
      add(latency, fields[j], fields[j + 1])
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
return completed + failed
