-- Drop a shard's expired lease, so that the shard waits for a worker again.
-- Returns 'open' when the lease was dropped, or 'held' when there is no expired lease. Returns 'fail_line' when the
-- first pending line ran isolated in too many lost workers; `fail_line.lua` then drops the lease.
local shard, running, open, leases, meta = unpack(KEYS)
local index = ARGV[1]
if not has_expired_lease(leases, index) then
  return 'held'
end
if not count_crash(shard, running) then
  return 'fail_line'
end
count_time(meta, leases, now_ms())
unhold(shard)
redis.call('ZREM', leases, index)
open_shard(shard, open, index)
return 'open'
