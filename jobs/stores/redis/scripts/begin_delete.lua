-- Mark a job as deleted, if its keys may be freed: it has ended, was never opened, or its deletion broke off.
-- Returns 'ok', 'missing', or the state that forbids it.
local meta = KEYS[1]
local state = redis.call('HGET', meta, 'state')
if not state then
  return 'missing'
end
if state == 'queued' or state == 'in_progress' then
  return state
end
redis.call('HSET', meta, 'state', 'deleting')
return 'ok'
