-- Add a new batch to its project, unless an earlier try of the same request has made one.
-- `repetition`, and the arguments from `digest` on, are absent if the request cannot be recognised.
-- Returns 'ok', 'too_many', 'differs', or the id of the earlier batch.
local batch, batches, unfinished, repetition = unpack(KEYS)
local id, record, input_file, max_unfinished, digest, life_ms, is_retry = unpack(ARGV)
if repetition then
  local earlier = earlier_object(batch, id, repetition, digest, is_retry)
  if earlier then
    return earlier
  end
end
if redis.call('HLEN', unfinished) >= tonumber(max_unfinished) then
  return 'too_many'
end
redis.call('SET', batch, record)
redis.call('ZADD', batches, 0, id)
redis.call('HSET', unfinished, id, input_file)
if repetition then
  redis.call('SET', repetition, digest .. ' ' .. id, 'PX', life_ms)
end
return 'ok'
