-- Drop a shard's expired lease, so that the shard waits for a worker again.
-- KEYS: 1 shard, 2 running, 3 open, 4 leases, 5 meta.
-- ARGV: 1 index of the shard.
-- Returns 'open' when the lease was dropped, or 'held' when there is no expired lease. Returns 'fail_line' when the next
-- line ran alone in too many lost workers; `fail_line.lua` then drops the lease.
local expires = redis.call('ZSCORE', KEYS[4], ARGV[1])
if not expires or tonumber(expires) > now_ms() then
  return 'held'
end
if not book_expiry(KEYS[1], KEYS[2]) then
  return 'fail_line'
end
count_time(KEYS[5], KEYS[4], now_ms())
unhold(KEYS[1])
redis.call('ZREM', KEYS[4], ARGV[1])
open_shard(KEYS[1], KEYS[3], ARGV[1])
return 'open'
