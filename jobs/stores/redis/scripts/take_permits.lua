-- Take permits from a bucket that fills at a steady rate.
-- The value of a bucket is the moment at which it is full again, in ms with fractions. A missing key is a full bucket.
-- With `overdraw` '1', all wanted permits are granted, even if the bucket then owes some.
-- Returns the number of granted permits, of those that are left, and the ms until the bucket has one and is full.
local bucket = KEYS[1]
local capacity, period_ms, wanted, overdraw = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local interval = period_ms / capacity
local full_at = math.max(tonumber(redis.call('GET', bucket) or 0) or 0, now)

local function held()
  return math.floor((now + period_ms - full_at) / interval + 1e-6)
end

local granted = overdraw == '1' and wanted or math.max(math.min(wanted, held()), 0)
if granted > 0 then
  full_at = full_at + granted * interval
  redis.call('SET', bucket, string.format('%.3f', full_at), 'PX', math.max(math.ceil(full_at - now), 1))
end
local first_ms = math.max(full_at - now - period_ms + interval, 0)
return { granted, held(), math.ceil(first_ms), math.ceil(full_at - now) }
