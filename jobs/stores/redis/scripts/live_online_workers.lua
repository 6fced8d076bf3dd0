-- Returns the workers that take interactive requests.
local workers = KEYS[1]
return redis.call('ZRANGEBYSCORE', workers, '(' .. now_ms(), '+inf')
