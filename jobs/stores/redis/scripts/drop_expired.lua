-- KEYS: shard, running, open, leases, meta. ARGV: index.
-- Returns 'open' when an expired lease was dropped, 'guilty' when its one line has been alone in too many workers that
-- fell silent (the lease is kept until that line has its error), or 'held' when there is no expired lease.
local expires = redis.call('ZSCORE', KEYS[4], ARGV[1])
if not expires or tonumber(expires) > now_ms() then
  return 'held'
end
if not book_expiry(KEYS[1], KEYS[2]) then
  return 'guilty'
end
count_time(KEYS[5], KEYS[4], now_ms())
unhold(KEYS[1])
redis.call('ZREM', KEYS[4], ARGV[1])
open_shard(KEYS[1], KEYS[3], ARGV[1])
return 'open'
