-- Functions for all scripts. The client puts this file in front of each script, and the limits of `rules.py`, such as
-- MAX_CRASHES, in front of this file.
-- A script touches only the keys of one job, or one list of jobs. It gets all their names in KEYS.

-- Fields of a shard's hash. Their values are the names that version 0.2.0 stored, so that its jobs stay readable.
local CRASH_COUNT = 'expiries' -- leases that expired while the worker ran other shards, too
local LINES_AT_A_TIME = 'alone' -- set if the shard is quarantined: max pending lines that run together
local ISOLATED_CRASH_COUNT = 'lone' -- leases that expired while the worker ran only the first pending line
local COUNTED_AS = 'lost:' -- followed by the token of an expired lease: the field that counted it

-- Beginnings of fields of a job's `meta` that count lines.
local FINISH_REASON = 'finish_reason:' -- completed lines with this finish reason
local ERROR_CODE = 'error_code:' -- failed lines with this code

-- Changes the number of failed lines with an error code. Lines that an older version wrote were not counted by code.
local function count_errors(meta, error_code, number)
  if tonumber(number) ~= 0 and redis.call('HINCRBY', meta, ERROR_CODE .. error_code, number) <= 0 then
    redis.call('HDEL', meta, ERROR_CODE .. error_code)
  end
end

-- Returns milliseconds since the epoch by the server's clock. Leases expire by no other clock.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Returns whether a shard has a lease that has expired.
local function has_expired_lease(leases, index)
  local expires = redis.call('ZSCORE', leases, index)
  return expires and tonumber(expires) <= now_ms()
end

-- Returns the state of a job that a client is submitting. Returns 'cancelled' after a request to cancel the job, and
-- 'missing' if the job does not exist any more.
local function state_of_submission(meta)
  local state, cancel = unpack(redis.call('HMGET', meta, 'state', 'cancel_requested'))
  if not state or state == 'deleting' then
    return 'missing'
  end
  return cancel == '1' and 'cancelled' or state
end

-- Adds a shard to `open`. Quarantined shards come after all others.
local function open_shard(shard, open, index)
  local quarantined = redis.call('HEXISTS', shard, LINES_AT_A_TIME)
  redis.call('ZADD', open, index + quarantined * QUARANTINE_SCORE, index)
end

-- Counts an expired lease, because its shard may have crashed the worker. After `MAX_CRASHES` of them the shard is
-- quarantined: it runs alone in a worker, a limited number of lines at a time. These are first all pending lines, then
-- 1 / `PART` of the lines that crashed the worker, and in the end one line. Returns false, and changes nothing, when
-- one line has run isolated in `MAX_ISOLATED_CRASHES` lost workers.
local function count_crash(shard, running)
  local token, lines_at_a_time, lines = unpack(redis.call('HMGET', shard, 'held', LINES_AT_A_TIME, 'lines'))
  local pending = lines - redis.call('HLEN', running)
  local ran = math.min(tonumber(lines_at_a_time or pending), pending)
  if not lines_at_a_time then
    redis.call('HSET', shard, COUNTED_AS .. token, CRASH_COUNT)
    if redis.call('HINCRBY', shard, CRASH_COUNT, 1) >= MAX_CRASHES then
      redis.call('HSET', shard, LINES_AT_A_TIME, math.max(pending, 1))
    end
  elseif ran > 1 then
    redis.call('HSET', shard, LINES_AT_A_TIME, math.ceil(ran / PART))
  elseif ran == 1 then
    if tonumber(redis.call('HGET', shard, ISOLATED_CRASH_COUNT) or 0) + 1 >= MAX_ISOLATED_CRASHES then
      return false
    end
    redis.call('HSET', shard, COUNTED_AS .. token, ISOLATED_CRASH_COUNT)
    redis.call('HINCRBY', shard, ISOLATED_CRASH_COUNT, 1)
  end
  return true
end

-- Returns a lease's time to live in ms. The last lease before a line's `worker_lost` error lives longer. So a worker
-- that is only frozen or cut off for a while can return before the line fails.
local function time_to_live(shard, usual)
  local crashes = tonumber(redis.call('HGET', shard, ISOLATED_CRASH_COUNT) or 0)
  return crashes + 1 >= MAX_ISOLATED_CRASHES and usual * LAST_LEASE_FACTOR or tonumber(usual)
end

-- Undoes `count_crash` for an expired lease. Its worker is alive: it was cut off or frozen, and no line crashed it.
local function uncount_crash(shard, token)
  local counter = redis.call('HGET', shard, COUNTED_AS .. token)
  if counter then
    redis.call('HDEL', shard, COUNTED_AS .. token)
    if tonumber(redis.call('HGET', shard, counter) or 0) > 0 then
      redis.call('HINCRBY', shard, counter, -1)
    end
  end
end

-- Returns whether a token is valid for work on a shard: the holder's, or the backup's while there is a holder.
local function may_work(shard, token)
  local held, backup = unpack(redis.call('HMGET', shard, 'held', 'backup'))
  return held == token or (held and backup == token)
end

-- Ends the holder's lease, and with it the backup's.
local function unhold(shard)
  redis.call('HDEL', shard, 'held', 'worker', 'backup', 'backup_until_ms')
end

-- Adds to `busy_ms` the time since `busy_at_ms` in which workers held at least one shard of the job. Returns `busy_ms`.
-- Call it before every change of `leases` and for every written line: it assumes that no lease has changed since the
-- previous call. A lease that nobody renewed counts up to its expiry. A job that an older version began has no
-- `busy_ms`. It starts with the duration that the older version would have shown.
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

-- Returns whether a shard that has been held for `ms` is slow: at least `min_ms`, and `SLOW_FACTOR` times as long as
-- the job's finished shards on average.
local function is_slow(ms, held_ms, held_shards, min_ms)
  return held_shards and ms >= tonumber(min_ms) and ms >= SLOW_FACTOR * held_ms / held_shards
end

local function has_ended(state)
  return state == 'completed' or state == 'cancelled' or state == 'expired' or state == 'failed'
end

-- Ends the job if no shard is open or leased. Returns 1 if this call ended it, else 0.
local function end_if_all_done(meta, open, leases, now)
  if redis.call('ZCARD', open) + redis.call('ZCARD', leases) > 0 then
    return 0
  end
  local cancel, expired, failure = unpack(redis.call('HMGET', meta, 'cancel_requested', 'expired', 'error'))
  local state = cancel ~= '1' and (failure and 'failed' or 'completed') or expired == '1' and 'expired' or 'cancelled'
  redis.call('HSET', meta, 'state', state, 'ended_at_ms', now)
  return 1
end

-- Opens the closed shard with index `args[1]`, and queues its job again if that has ended. From `first` on, `args`
-- holds index and completion of each line that keeps its result. The caller must have removed the compacted results and
-- adjusted the job's other counters.
local function reopen(meta, shard, running, open, args, first)
  local index = args[1]
  for i = first, #args, 2 do
    redis.call('HSET', running, args[i], args[i + 1])
  end
  redis.call('HSET', shard, 'failed', 0, 'attempts', 0, CRASH_COUNT, 0)
  redis.call('HDEL', shard, LINES_AT_A_TIME, ISOLATED_CRASH_COUNT)
  redis.call('ZADD', open, index, index)
  redis.call('HINCRBY', meta, 'shards_done', -1)
  if has_ended(redis.call('HGET', meta, 'state')) then
    redis.call('HSET', meta, 'state', 'queued')
    redis.call('HDEL', meta, 'cancel_requested', 'expired', 'deadline_ms', 'paused', 'ended_at_ms', 'error')
  end
end

-- Closes a shard: replaces its running results by the compacted value, and counts its `errors` new failed lines, which
-- have the same error code. Returns 1 if this ended the job, else 0.
local function close_shard(keys, index, compacted, errors, error_code)
  count_time(keys.meta, keys.leases, now_ms())
  redis.call('SET', keys.results, compacted)
  redis.call('DEL', keys.running)
  unhold(keys.shard)
  redis.call('HINCRBY', keys.shard, 'failed', errors)
  redis.call('ZREM', keys.open, index)
  redis.call('ZREM', keys.leases, index)
  redis.call('HINCRBY', keys.meta, 'failed', errors)
  count_errors(keys.meta, error_code, errors)
  redis.call('HINCRBY', keys.meta, 'shards_done', 1)
  return end_if_all_done(keys.meta, keys.open, keys.leases, now_ms())
end

-- Returns what an earlier try of a request has made: the object's id, or nil. Returns 'differs' if that try had
-- another digest. `key` and `id` are those of the object that this try would make; they give the name of the other key.
local function earlier_object(key, id, repetition, digest, is_retry)
  local known = is_retry == '1' and redis.call('GET', repetition)
  if not known then
    return nil
  end
  local known_digest, known_id = known:match('^(%S+) (%S+)$')
  if redis.call('EXISTS', key:sub(1, #key - #id) .. known_id) == 0 then
    return nil
  end
  return known_digest == digest and known_id or 'differs'
end
