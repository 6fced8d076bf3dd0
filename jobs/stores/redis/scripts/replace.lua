-- KEYS: a string. ARGV: what it must hold, and what it shall hold instead ('' to remove it). Returns 1 if it was done.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2])
end
return 1
