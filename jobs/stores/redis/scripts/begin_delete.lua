-- KEYS: meta. Returns 'ok' when the job's keys may go (it ended, was never opened, or its deletion broke off), 'missing', or its state.
local state = redis.call('HGET', KEYS[1], 'state')
if not state then
  return 'missing'
end
if state == 'queued' or state == 'in_progress' then
  return state
end
redis.call('HSET', KEYS[1], 'state', 'deleting')
return 'ok'
