-- Set the cancellation flag of a job that has not ended. The job ends at once if no shard is open or leased.
-- Returns 'ok', also when the job has ended, or 'missing'.
local meta, open, leases = KEYS[1], KEYS[2], KEYS[3]
local state = redis.call('HGET', meta, 'state')
if not state or state == 'deleting' then
  return 'missing'
end
if not has_ended(state) then
  redis.call('HSET', meta, 'cancel_requested', '1')
  end_if_all_done(meta, open, leases, now_ms())
end
return 'ok'
