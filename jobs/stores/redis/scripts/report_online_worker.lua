-- Show that a worker takes interactive requests, and forget workers that have not reported for long.
-- `worker` is its id; `life_ms` is the time for which the report is valid.
local workers = KEYS[1]
local worker, life_ms = ARGV[1], tonumber(ARGV[2])
local now = now_ms()
redis.call('ZREMRANGEBYSCORE', workers, '-inf', now)
redis.call('ZADD', workers, now + life_ms, worker)
redis.call('PEXPIRE', workers, 2 * life_ms)
