-- Mark a job as deleted, if its keys may be freed: it has ended, was never opened, or its deletion broke off.
-- KEYS: 1 meta.
-- Returns 'ok', 'missing', or the state that forbids it.
local state = redis.call('HGET', KEYS[1], 'state')
if not state then
  return 'missing'
end
if state == 'queued' or state == 'in_progress' then
  return state
end
redis.call('HSET', KEYS[1], 'state', 'deleting')
return 'ok'
