-- KEYS: meta. ARGV: spec. Returns 'ok', also when the same job is there already, or 'conflict'.
local known = redis.call('HGET', KEYS[1], 'spec')
if known then
  return known == ARGV[1] and 'ok' or 'conflict'
end
redis.call('HSET', KEYS[1], 'spec', ARGV[1], 'state', 'validating')
return 'ok'
