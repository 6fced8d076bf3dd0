-- KEYS: meta. ARGV: '1' to pause, '0' to resume. Returns 'ok', 'missing', 'ending', or the state that forbids it.
local state, cancel = unpack(redis.call('HMGET', KEYS[1], 'state', 'cancel_requested'))
if not state or state == 'deleting' then
  return 'missing'
end
if state ~= 'queued' and state ~= 'in_progress' then
  return state
end
if cancel == '1' then
  return 'ending'
end
redis.call('HSET', KEYS[1], 'paused', ARGV[1])
return 'ok'
