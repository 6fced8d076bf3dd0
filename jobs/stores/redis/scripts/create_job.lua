-- Create a job in state `validating`.
-- `spec` is JSON.
-- Returns 'ok', also when the same job exists already, or 'conflict' when another job has this id.
local meta = KEYS[1]
local spec = ARGV[1]
local known = redis.call('HGET', meta, 'spec')
if known then
  return known == spec and 'ok' or 'conflict'
end
redis.call('HSET', meta, 'spec', spec, 'state', 'validating')
return 'ok'
