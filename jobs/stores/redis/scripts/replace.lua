-- Replace or remove a string, if it has an expected value.
-- KEYS: 1 the string.
-- ARGV: 1 expected value, 2 new value ('' to remove the key).
-- Returns 1 if it was replaced or removed, else 0.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2])
end
return 1
