-- Lets an interactive request wait for a worker, if some worker serves its model and not too many requests wait.
-- `request` is the request (JSON); `max_waiting` is the number of waiting requests at which it is refused.
-- Returns a value of `jobs.online.online_store.Acceptance`.
local workers, waiting = KEYS[1], KEYS[2]
local request, max_waiting = ARGV[1], tonumber(ARGV[2])
if redis.call('ZCOUNT', workers, '(' .. now_ms(), '+inf') == 0 then
  return 'no_worker'
end
if redis.call('LLEN', waiting) >= max_waiting then
  return 'queue_full'
end
redis.call('RPUSH', waiting, request)
return 'accepted'
