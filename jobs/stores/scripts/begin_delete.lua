-- KEYS: meta. Returns 'ok' when the job's keys may go (also when a deletion was broken off), 'missing', or its state.
local state = redis.call('HGET', KEYS[1], 'state')
if not state then
  return 'missing'
end
if not has_ended(state) and state ~= 'deleting' then
  return state
end
redis.call('HSET', KEYS[1], 'state', 'deleting')
return 'ok'
