-- Set the cancellation flag of a job that has not ended. The job ends at once if no shard is open or leased.
-- KEYS: 1 meta, 2 open, 3 leases.
-- Returns 'ok', also when the job has ended, or 'missing'.
local state = redis.call('HGET', KEYS[1], 'state')
if not state or state == 'deleting' then
  return 'missing'
end
if not has_ended(state) then
  redis.call('HSET', KEYS[1], 'cancel_requested', '1')
  end_if_all_done(KEYS[1], KEYS[2], KEYS[3], now_ms())
end
return 'ok'
