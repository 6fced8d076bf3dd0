-- Add the record of a file to its project, unless an earlier try of the same request has made one.
-- `repetition`, and the arguments from `digest` on, are absent if the request cannot be recognised.
-- Returns 'ok', 'too_many_bytes', 'too_many_files', 'differs', or the id of the earlier file.
local file, files, same_purpose, bytes, repetition = unpack(KEYS)
local id, record, size, max_bytes, max_files, digest, life_ms, is_retry = unpack(ARGV)
if repetition then
  local earlier = earlier_object(file, id, repetition, digest, is_retry)
  if earlier then
    return earlier
  end
end
if tonumber(redis.call('GET', bytes) or 0) + size > tonumber(max_bytes) then
  return 'too_many_bytes'
end
if redis.call('ZCARD', files) >= tonumber(max_files) then
  return 'too_many_files'
end
redis.call('SET', file, record)
redis.call('ZADD', files, 0, id)
redis.call('ZADD', same_purpose, 0, id)
redis.call('INCRBY', bytes, size)
if repetition then
  redis.call('SET', repetition, digest .. ' ' .. id, 'PX', life_ms)
end
return 'ok'
