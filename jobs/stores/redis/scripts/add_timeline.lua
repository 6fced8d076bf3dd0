-- Append a sample to a job's timeline, and drop old samples. Drops the new sample if the job is gone.
-- `sample` is JSON. Samples are kept for `keep_ms` milliseconds.
local meta, timeline = KEYS[1], KEYS[2]
local sample, keep_ms = ARGV[1], ARGV[2]
local state = redis.call('HGET', meta, 'state')
if state and state ~= 'deleting' then
  redis.call('XADD', timeline, '*', 'sample', sample)
  redis.call('XTRIM', timeline, 'MINID', string.format('%.0f', now_ms() - keep_ms))
end
