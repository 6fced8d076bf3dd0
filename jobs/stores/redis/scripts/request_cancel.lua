-- KEYS: meta, open, leases. Returns 'missing', or 'ok' with the flag set unless the job had ended before.
local state = redis.call('HGET', KEYS[1], 'state')
if not state or state == 'deleting' then
  return 'missing'
end
if not has_ended(state) then
  redis.call('HSET', KEYS[1], 'cancel_requested', '1')
  end_if_all_done(KEYS[1], KEYS[2], KEYS[3], now_ms())
end
return 'ok'
