-- KEYS: meta. ARGV: fingerprint. Notes it with the job, so that deleting the job can remove it. Returns 1 if it is there.
local state = redis.call('HGET', KEYS[1], 'state')
if not state or state == 'deleting' then
  return 0
end
redis.call('HSET', KEYS[1], 'run_fingerprint', ARGV[1])
return 1
