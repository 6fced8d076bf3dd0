-- Mark a job whose deadline has passed, so that it ends early like a cancelled job.
-- Returns 1 if it was marked, else 0.
local meta, open, leases = KEYS[1], KEYS[2], KEYS[3]
local state, cancel, deadline = unpack(redis.call('HMGET', meta, 'state', 'cancel_requested', 'deadline_ms'))
local now = now_ms()
if not state or state == 'deleting' or has_ended(state) or cancel == '1' or not deadline or tonumber(deadline) > now then
  return 0
end
redis.call('HSET', meta, 'cancel_requested', '1', 'expired', '1')
end_if_all_done(meta, open, leases, now)
return 1
