-- Take entries that are due, and make them due again later, so that nobody else takes them meanwhile.
-- `limit` is the max number of entries; `seconds` is the time after which they are due again.
-- Returns the entries.
local due = KEYS[1]
local limit, seconds = ARGV[1], ARGV[2]
local now = now_ms() / 1000
local taken = redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, limit)
for _, entry in ipairs(taken) do
  redis.call('ZADD', due, now + seconds, entry)
end
return taken
