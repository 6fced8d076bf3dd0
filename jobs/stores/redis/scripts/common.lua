-- Stands in front of every script. Scripts touch only keys of one job, or one list of jobs, all of them passed in KEYS.

-- Milliseconds since the epoch by the server's clock, the only one that decides leases.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Names a shard in `open`. Those that must be run alone stand behind all others.
local function open_shard(shard, open, index)
  local suspect = redis.call('HEXISTS', shard, 'alone')
  redis.call('ZADD', open, index + suspect * 2 ^ 40, index)
end

-- Counts that the worker of an expired lease has fallen silent. `MAX_SHARED` of these, and the shard is run alone in a
-- worker, `alone` lines at a time: all that are pending, then an eighth of those that took the worker down, at last one.
-- Returns false, and changes nothing, when one line has been alone in `MAX_LONE` workers that fell silent.
local MAX_SHARED, MAX_LONE, LAST_LEASES, PART = 2, 2, 5, 8
local function book_expiry(shard, running)
  local token, alone, lines = unpack(redis.call('HMGET', shard, 'held', 'alone', 'lines'))
  local pending = lines - redis.call('HLEN', running)
  local ran = math.min(tonumber(alone or pending), pending)
  if not alone then
    redis.call('HSET', shard, 'lost:' .. token, 'expiries')
    if redis.call('HINCRBY', shard, 'expiries', 1) >= MAX_SHARED then
      redis.call('HSET', shard, 'alone', math.max(pending, 1))
    end
  elseif ran > 1 then
    redis.call('HSET', shard, 'alone', math.ceil(ran / PART))
  elseif ran == 1 then
    if tonumber(redis.call('HGET', shard, 'lone') or 0) + 1 >= MAX_LONE then
      return false
    end
    redis.call('HSET', shard, 'lost:' .. token, 'lone')
    redis.call('HINCRBY', shard, 'lone', 1)
  end
  return true
end

-- Milliseconds that a lease lives. The one before a line is given up lives longer: a worker that is only frozen or cut off
-- for a while is back before its line is blamed.
local function time_to_live(shard, usual)
  local lone = tonumber(redis.call('HGET', shard, 'lone') or 0)
  return lone + 1 >= MAX_LONE and usual * LAST_LEASES or tonumber(usual)
end

-- A worker whose lease has expired is alive after all: it was cut off, or frozen, so its silence is not the lines' fault.
local function absolve(shard, token)
  local counter = redis.call('HGET', shard, 'lost:' .. token)
  if counter then
    redis.call('HDEL', shard, 'lost:' .. token)
    if tonumber(redis.call('HGET', shard, counter) or 0) > 0 then
      redis.call('HINCRBY', shard, counter, -1)
    end
  end
end

-- Whether a token gives the right to work on a shard: its holder's, or its second runner's while it has a holder.
local function may_work(shard, token)
  local held, backup = unpack(redis.call('HMGET', shard, 'held', 'backup'))
  return held == token or (held and backup == token)
end

-- Ends what a holder has, and with it the second runner's right.
local function unhold(shard)
  redis.call('HDEL', shard, 'held', 'worker', 'backup', 'backup_until_ms')
end

-- Counts the time in which a worker held at least one shard: the union of the leases' times, in `busy_ms`, up to the moment
-- `busy_at_ms`. Every change of `leases` and every written line calls it first: since the call before, no lease has
-- changed, so that time was held up to the last expiry. A lease that nobody renewed counts up to its expiry.
-- A job that an older version began has none of this; it starts with the duration that version would have shown.
local function count_time(meta, leases, now)
  local busy, at, first, last, idle =
    unpack(redis.call('HMGET', meta, 'busy_ms', 'busy_at_ms', 'first_step_at_ms', 'last_line_at_ms', 'idle_ms'))
  local expires = redis.call('ZREVRANGE', leases, 0, 0, 'WITHSCORES')[2]
  if not at then
    busy = first and last and last - first - (idle or 0) or 0
  elseif expires then
    busy = busy + math.max(math.min(now, expires) - at, 0)
  end
  redis.call('HSET', meta, 'busy_ms', busy, 'busy_at_ms', now)
  return busy
end

-- Whether a shard that has been held for so many ms is slow: for `SLOW_FACTOR` times as long as the job's finished ones.
local SLOW_FACTOR = 2
local function is_slow(ms, held_ms, held_shards, least_ms)
  return held_shards and ms >= tonumber(least_ms) and ms >= SLOW_FACTOR * held_ms / held_shards
end

local function has_ended(state)
  return state == 'completed' or state == 'cancelled' or state == 'expired' or state == 'failed'
end

-- Ends a job of which no shard needs or has a worker. Returns 1 if this call ended it.
local function end_if_all_done(meta, open, leases, now)
  if redis.call('ZCARD', open) + redis.call('ZCARD', leases) > 0 then
    return 0
  end
  local cancel, expired, failure = unpack(redis.call('HMGET', meta, 'cancel_requested', 'expired', 'error'))
  local state = cancel ~= '1' and (failure and 'failed' or 'completed') or expired == '1' and 'expired' or 'cancelled'
  redis.call('HSET', meta, 'state', state, 'ended_at_ms', now)
  return 1
end

-- Opens the closed shard `args[1]`, and with it a job that has ended. From `first` on, `args` holds index and completion of
-- each line that keeps its result. The caller has removed the compacted results and adapted the job's other counters.
local function reopen(meta, shard, running, open, args, first)
  local index = args[1]
  for i = first, #args, 2 do
    redis.call('HSET', running, args[i], args[i + 1])
  end
  redis.call('HSET', shard, 'failed', 0, 'attempts', 0, 'expiries', 0)
  redis.call('HDEL', shard, 'alone', 'lone')
  redis.call('ZADD', open, index, index)
  redis.call('HINCRBY', meta, 'shards_done', -1)
  if has_ended(redis.call('HGET', meta, 'state')) then
    redis.call('HSET', meta, 'state', 'queued')
    redis.call('HDEL', meta, 'cancel_requested', 'expired', 'deadline_ms', 'paused', 'ended_at_ms', 'error')
  end
end

-- Replaces a shard's running results by the compacted value; `errors` of its lines are new and counted here.
local function close_shard(keys, index, compacted, errors)
  count_time(keys.meta, keys.leases, now_ms())
  redis.call('SET', keys.results, compacted)
  redis.call('DEL', keys.running)
  unhold(keys.shard)
  redis.call('HINCRBY', keys.shard, 'failed', errors)
  redis.call('ZREM', keys.open, index)
  redis.call('ZREM', keys.leases, index)
  redis.call('HINCRBY', keys.meta, 'failed', errors)
  redis.call('HINCRBY', keys.meta, 'shards_done', 1)
  return end_if_all_done(keys.meta, keys.open, keys.leases, now_ms())
end
