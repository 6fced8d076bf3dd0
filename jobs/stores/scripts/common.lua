-- Stands in front of every script. Scripts touch only keys of one job, all of them passed in KEYS.

-- Milliseconds since the epoch by the server's clock, the only one that decides leases.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function has_ended(state)
  return state == 'completed' or state == 'cancelled' or state == 'expired' or state == 'failed'
end

-- Ends a job of which no shard needs or has a worker. Returns 1 if this call ended it.
local function end_if_all_done(meta, open, leases, now)
  if redis.call('ZCARD', open) + redis.call('ZCARD', leases) > 0 then
    return 0
  end
  local state = redis.call('HGET', meta, 'cancel_requested') == '1' and 'cancelled' or 'completed'
  redis.call('HSET', meta, 'state', state, 'ended_at_ms', now)
  return 1
end

-- Replaces a shard's running results by the compacted value; `errors` of its lines are new and counted here.
local function close_shard(keys, index, compacted, errors)
  redis.call('SET', keys.results, compacted)
  redis.call('DEL', keys.running)
  redis.call('HDEL', keys.shard, 'held', 'worker')
  redis.call('HINCRBY', keys.shard, 'failed', errors)
  redis.call('ZREM', keys.open, index)
  redis.call('ZREM', keys.leases, index)
  redis.call('HINCRBY', keys.meta, 'failed', errors)
  redis.call('HINCRBY', keys.meta, 'shards_done', 1)
  return end_if_all_done(keys.meta, keys.open, keys.leases, now_ms())
end
