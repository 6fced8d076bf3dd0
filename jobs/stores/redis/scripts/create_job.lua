-- Create a job in state `validating`.
-- KEYS: 1 meta.
-- ARGV: 1 spec (JSON).
-- Returns 'ok', also when the same job exists already, or 'conflict' when another job has this id.
local known = redis.call('HGET', KEYS[1], 'spec')
if known then
  return known == ARGV[1] and 'ok' or 'conflict'
end
redis.call('HSET', KEYS[1], 'spec', ARGV[1], 'state', 'validating')
return 'ok'
