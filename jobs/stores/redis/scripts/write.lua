-- Store results of a shard's lines, and update the job's counters. A line that has a result keeps it.
-- `facts` is a MessagePack array with {line index, whether it failed, finish reason or error code, prompt tokens,
-- completion tokens, map of further amounts} per line, followed by bucket and microseconds of each of `MEASURES` (nil
-- if not measured).
-- Further arguments: the worker's id, and the completion (JSON) of each line.
-- Returns the number of new results, or 'lost' when the token is outdated.
local meta, shard, running, latency, leases, history, engine = unpack(KEYS)
local token, facts, worker_id = unpack(ARGV, 1, 3)
if not may_work(shard, token) then
  uncount_crash(shard, token)
  return 'lost'
end
local SPAN_SECONDS = 'span_seconds' -- field of `history`: length of its spans
local MEASURES = {'ttft', 'tpot', 'e2el'}
local completed, failed, prompt_tokens, completion_tokens = 0, 0, 0, 0
local outcomes, amounts, counts, sums = {}, {}, {{}, {}, {}}, {0, 0, 0}

-- Adds `values` to those of a span. They are three numbers: completed lines, failed lines and output tokens.
local function add_to_span(spans, span, values)
  local known, new = (spans[span] or '0 0 0'):gmatch('%d+'), {}
  for value in values:gmatch('%d+') do
    table.insert(new, (known() or 0) + value)
  end
  spans[span] = table.concat(new, ' ')
end

-- Doubles the length of all spans. Returns the new length in seconds.
local function merge_spans(history, seconds)
  local fields, merged = redis.call('HGETALL', history), {}
  for i = 1, #fields, 2 do
    if fields[i] ~= SPAN_SECONDS then
      add_to_span(merged, math.floor(fields[i] / 2), fields[i + 1])
    end
  end
  redis.call('DEL', history)
  redis.call('HSET', history, SPAN_SECONDS, 2 * seconds)
  for span, values in pairs(merged) do
    redis.call('HSET', history, span, values)
  end
  return 2 * seconds
end

-- Counts new results in the job's history.
local function add_to_history(history, now, values)
  redis.call('HSETNX', history, SPAN_SECONDS, FIRST_SPAN_SECONDS)
  local seconds = tonumber(redis.call('HGET', history, SPAN_SECONDS)) or FIRST_SPAN_SECONDS
  local span = math.floor(now / 1000 / seconds)
  local spans = {[span] = redis.call('HGET', history, span) or nil}
  add_to_span(spans, span, values)
  redis.call('HSET', history, span, spans[span])
  while redis.call('HLEN', history) - 1 > MAX_SPANS do
    seconds = merge_spans(history, seconds)
  end
end

local function add(counters, field, amount)
  counters[field] = (counters[field] or 0) + amount
end

for place, line in ipairs(cmsgpack.unpack(facts)) do
  if redis.call('HSETNX', running, line[1], ARGV[3 + place]) == 1 then
    if line[2] then
      failed = failed + 1
      add(outcomes, ERROR_CODE .. line[3], 1)
    else
      completed = completed + 1
      add(outcomes, FINISH_REASON .. line[3], 1)
      prompt_tokens = prompt_tokens + line[4]
      completion_tokens = completion_tokens + line[5]
      for name, amount in pairs(line[6]) do
        add(amounts, name, amount)
      end
    end
    for measure = 1, #MEASURES do
      local bucket, microseconds = line[5 + 2 * measure], line[6 + 2 * measure]
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
redis.call('HINCRBY', engine, 'output_tokens:' .. worker_id, completion_tokens)
for name, amount in pairs(amounts) do
  redis.call('HINCRBY', meta, name, amount)
end
for outcome, count in pairs(outcomes) do
  redis.call('HINCRBY', meta, outcome, count)
end
for measure, name in ipairs(MEASURES) do
  for bucket, count in pairs(counts[measure]) do
    redis.call('HINCRBY', latency, name .. ':' .. bucket, count)
  end
  if next(counts[measure]) then
    redis.call('HINCRBY', latency, name .. ':sum_us', sums[measure])
  end
end
add_to_history(history, now, completed .. ' ' .. failed .. ' ' .. completion_tokens)
redis.call('HINCRBY', shard, 'failed', failed)
redis.call('HDEL', shard, ISOLATED_CRASH_COUNT) -- the count concerned the line that was the first without a result
return completed + failed
