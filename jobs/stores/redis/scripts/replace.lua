-- Replace or remove a string, if it has an expected value.
-- `new` is '' to remove the key.
-- Returns 1 if it was replaced or removed, else 0.
local key = KEYS[1]
local expected, new = ARGV[1], ARGV[2]
if redis.call('GET', key) ~= expected then
  return 0
end
if new == '' then
  redis.call('DEL', key)
else
  redis.call('SET', key, new)
end
return 1
