-- KEYS: meta, shard, running, latency, leases. ARGV: token, then in MessagePack an array of lines, each {index, finish reason
-- ('' for an error), prompt tokens, completion tokens, bucket and microseconds of each of `MEASURES` or nil}, then the
-- completion of each.
-- Returns how many lines were new, or 'lost'. A line that has a result keeps it.
if not may_work(KEYS[2], ARGV[1]) then
  absolve(KEYS[2], ARGV[1])
  return 'lost'
end
local MEASURES = {'ttft', 'tpot', 'e2el'}
local completed, failed, prompt_tokens, completion_tokens = 0, 0, 0, 0
local reasons, counts, sums = {}, {{}, {}, {}}, {0, 0, 0}

local function add_one(counters, field)
  counters[field] = (counters[field] or 0) + 1
end

for place, line in ipairs(cmsgpack.unpack(ARGV[2])) do
  if redis.call('HSETNX', KEYS[3], line[1], ARGV[2 + place]) == 1 then
    if line[2] == '' then
      failed = failed + 1
    else
      completed = completed + 1
      add_one(reasons, line[2])
      prompt_tokens = prompt_tokens + line[3]
      completion_tokens = completion_tokens + line[4]
    end
    for measure = 1, #MEASURES do
      local bucket, microseconds = line[3 + 2 * measure], line[4 + 2 * measure]
      if bucket then
        add_one(counts[measure], bucket)
        sums[measure] = sums[measure] + microseconds
      end
    end
  end
end
if completed + failed == 0 then
  return 0
end

local now = now_ms()
redis.call('HSET', KEYS[1], 'duration_ms', count_time(KEYS[1], KEYS[5], now), 'last_line_at_ms', now)
redis.call('HINCRBY', KEYS[1], 'completed', completed)
redis.call('HINCRBY', KEYS[1], 'failed', failed)
redis.call('HINCRBY', KEYS[1], 'total_input_tokens', prompt_tokens)
redis.call('HINCRBY', KEYS[1], 'total_output_tokens', completion_tokens)
for reason, count in pairs(reasons) do
  redis.call('HINCRBY', KEYS[1], 'finish_reason:' .. reason, count)
end
for measure, name in ipairs(MEASURES) do
  for bucket, count in pairs(counts[measure]) do
    redis.call('HINCRBY', KEYS[4], name .. ':' .. bucket, count)
  end
  if next(counts[measure]) then
    redis.call('HINCRBY', KEYS[4], name .. ':sum_us', sums[measure])
  end
end
redis.call('HINCRBY', KEYS[2], 'failed', failed)
redis.call('HDEL', KEYS[2], 'lone') -- of the line that was the first without a result
return completed + failed
