-- KEYS: meta, timeline. ARGV: sample, milliseconds to keep. A sample of a job that is gone is dropped.
local state = redis.call('HGET', KEYS[1], 'state')
if state and state ~= 'deleting' then
  redis.call('XADD', KEYS[2], '*', 'sample', ARGV[1])
  redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f', now_ms() - ARGV[2]))
end
