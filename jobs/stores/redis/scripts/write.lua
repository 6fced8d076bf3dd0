-- Store results of a shard's lines, and update the job's counters. A line that has a result keeps it.
-- `facts` is a MessagePack array with {line index, finish reason ('' for an error), prompt tokens, completion tokens,
-- map of further amounts} per line, followed by bucket and microseconds of each of `MEASURES` (nil if not measured).
-- Further arguments: the completion (JSON) of each line.
-- Returns the number of new results, or 'lost' when the token is outdated.
local meta, shard, running, latency, leases = unpack(KEYS)
local token, facts = ARGV[1], ARGV[2]
if not may_work(shard, token) then
  uncount_crash(shard, token)
  return 'lost'
end
local MEASURES = {'ttft', 'tpot', 'e2el'}
local completed, failed, prompt_tokens, completion_tokens = 0, 0, 0, 0
local reasons, amounts, counts, sums = {}, {}, {{}, {}, {}}, {0, 0, 0}

local function add(counters, field, amount)
  counters[field] = (counters[field] or 0) + amount
end

for place, line in ipairs(cmsgpack.unpack(facts)) do
  if redis.call('HSETNX', running, line[1], ARGV[2 + place]) == 1 then
    if line[2] == '' then
      failed = failed + 1
    else
      completed = completed + 1
      add(reasons, line[2], 1)
      prompt_tokens = prompt_tokens + line[3]
      completion_tokens = completion_tokens + line[4]
      for name, amount in pairs(line[5]) do
        add(amounts, name, amount)
      end
    end
    for measure = 1, #MEASURES do
      local bucket, microseconds = line[4 + 2 * measure], line[5 + 2 * measure]
      if bucket then
        add(counts[measure], bucket, 1)
        sums[measure] = sums[measure] + microseconds
      end
    end
  end
end
if completed + failed == 0 then
  return 0
end

local now = now_ms()
redis.call('HSET', meta, 'duration_ms', count_time(meta, leases, now), 'last_line_at_ms', now)
redis.call('HINCRBY', meta, 'completed', completed)
redis.call('HINCRBY', meta, 'failed', failed)
redis.call('HINCRBY', meta, 'total_input_tokens', prompt_tokens)
redis.call('HINCRBY', meta, 'total_output_tokens', completion_tokens)
for name, amount in pairs(amounts) do
  redis.call('HINCRBY', meta, name, amount)
end
for reason, count in pairs(reasons) do
  redis.call('HINCRBY', meta, 'finish_reason:' .. reason, count)
end
for measure, name in ipairs(MEASURES) do
  for bucket, count in pairs(counts[measure]) do
    redis.call('HINCRBY', latency, name .. ':' .. bucket, count)
  end
  if next(counts[measure]) then
    redis.call('HINCRBY', latency, name .. ':sum_us', sums[measure])
  end
end
redis.call('HINCRBY', shard, 'failed', failed)
redis.call('HDEL', shard, ISOLATED_CRASH_COUNT) -- it counted for the line that was the first without a result
return completed + failed
