-- Store the fingerprint of a `run` with its job, so that deleting the job can remove the fingerprint's entry.
-- KEYS: 1 meta.
-- ARGV: 1 fingerprint.
-- Returns 1, or 0 when the job is gone.
local state = redis.call('HGET', KEYS[1], 'state')
if not state or state == 'deleting' then
  return 0
end
redis.call('HSET', KEYS[1], 'run_fingerprint', ARGV[1])
return 1
