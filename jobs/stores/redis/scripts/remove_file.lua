-- Remove the record of a file, unless a batch that is being validated needs the file.
-- Returns 'ok', 'missing' or 'in_use'.
local file, files, same_purpose, bytes, unfinished = unpack(KEYS)
local id, size = ARGV[1], ARGV[2]
if redis.call('EXISTS', file) == 0 then
  return 'missing'
end
for _, needed in ipairs(redis.call('HVALS', unfinished)) do
  if needed == id then
    return 'in_use'
  end
end
redis.call('DEL', file)
redis.call('ZREM', files, id)
redis.call('ZREM', same_purpose, id)
redis.call('DECRBY', bytes, size)
return 'ok'
