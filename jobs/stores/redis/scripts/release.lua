-- Give an unfinished shard back. A backup's lease only ends; the holder continues.
-- Returns 'open' when the shard waits for a worker again, or 'paused' when its job is paused. Returns 'cancelled' when
-- the caller must close the shard, or 'lost' when the token is not the holder's.
local meta, shard, open, leases = unpack(KEYS)
local index, token = ARGV[1], ARGV[2]
if redis.call('HGET', shard, 'held') ~= token then
  uncount_crash(shard, token)
  if redis.call('HGET', shard, 'backup') == token then
    redis.call('HDEL', shard, 'backup', 'backup_until_ms') -- the holder of the shard goes on
  end
  return 'lost'
end
count_time(meta, leases, now_ms())
unhold(shard)
redis.call('ZREM', leases, index)
open_shard(shard, open, index)
local cancel, paused = unpack(redis.call('HMGET', meta, 'cancel_requested', 'paused'))
return cancel == '1' and 'cancelled' or paused == '1' and 'paused' or 'open'
