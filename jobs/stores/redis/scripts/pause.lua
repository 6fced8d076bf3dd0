-- Pause or resume a job.
-- `paused` is '1' to pause, '0' to resume.
-- Returns 'ok', 'missing', 'ending', or the state that forbids it.
local meta = KEYS[1]
local paused = ARGV[1]
local state, cancel = unpack(redis.call('HMGET', meta, 'state', 'cancel_requested'))
if not state or state == 'deleting' then
  return 'missing'
end
if state ~= 'queued' and state ~= 'in_progress' then
  return state
end
if cancel == '1' then
  return 'ending'
end
redis.call('HSET', meta, 'paused', paused)
return 'ok'
