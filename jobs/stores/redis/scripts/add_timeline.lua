-- Append a sample to a job's timeline, and drop old samples. Drops the new sample if the job is gone.
-- KEYS: 1 meta, 2 timeline.
-- ARGV: 1 sample (JSON), 2 milliseconds for which samples are kept.
local state = redis.call('HGET', KEYS[1], 'state')
if state and state ~= 'deleting' then
  redis.call('XADD', KEYS[2], '*', 'sample', ARGV[1])
  redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f', now_ms() - ARGV[2]))
end
