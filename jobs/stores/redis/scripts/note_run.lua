-- Store the fingerprint of a `run` with its job, so that deleting the job can remove the fingerprint's entry.
-- Returns 1, or 0 when the job is gone.
local meta = KEYS[1]
local fingerprint = ARGV[1]
local state = redis.call('HGET', meta, 'state')
if not state or state == 'deleting' then
  return 0
end
redis.call('HSET', meta, 'run_fingerprint', fingerprint)
return 1
