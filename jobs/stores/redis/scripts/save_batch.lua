-- Replace the record of a batch, if its revision is the expected one, and add the files that the batch has written.
-- `needs` is the input file if the batch still needs it, '' if it needs none, and 'ended' if the batch has ended.
-- The keys from the seventh on are those of the files' records. The arguments from the fifth on are id, record and size
-- of each file.
-- Returns 1 if the record was replaced, else 0.
local batch, unfinished, reserved, files, outputs, bytes = unpack(KEYS)
local id, revision, record, needs = unpack(ARGV)
local stored = redis.call('GET', batch)
if not stored or cjson.decode(stored).revision ~= tonumber(revision) then
  return 0
end
redis.call('SET', batch, record)
if needs == 'ended' then
  redis.call('HDEL', unfinished, id)
  redis.call('HDEL', reserved, id)
else
  redis.call('HSET', unfinished, id, needs)
end
for i = 7, #KEYS do
  local file, file_record, size = unpack(ARGV, 5 + 3 * (i - 7), 7 + 3 * (i - 7))
  redis.call('SET', KEYS[i], file_record)
  redis.call('ZADD', files, 0, file)
  redis.call('ZADD', outputs, 0, file)
  redis.call('INCRBY', bytes, size)
end
return 1
