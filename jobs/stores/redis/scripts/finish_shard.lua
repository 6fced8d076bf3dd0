-- Close a shard that a worker has finished, and add the worker's statistics to the job's.
-- KEYS: 1 meta, 2 shard, 3 running, 4 results, 5 open, 6 leases, 7 engine.
-- ARGV: 1 index of the shard, 2 token, 3 number of lines in `running` when the caller read it, 4 packed results,
--   5 number of new errors in them, 6 worker id, 7 facts of the worker (JSON), then field and amount of each sum in
--   `engine`, '', field and value of each maximum in `engine`.
-- Returns 'ended' if this ended the job, else 'ok'. Returns 'lost' when the token is outdated, or 'changed' when lines
-- came in since the caller read `running`.
if not may_work(KEYS[2], ARGV[2]) then
  return 'lost'
end
if redis.call('HLEN', KEYS[3]) ~= tonumber(ARGV[3]) then
  return 'changed'
end
local keys = {meta = KEYS[1], shard = KEYS[2], running = KEYS[3], results = KEYS[4], open = KEYS[5], leases = KEYS[6]}
local engine, i = KEYS[7], 8
redis.call('HSET', engine, 'worker:' .. ARGV[6], ARGV[7])
while ARGV[i] ~= '' do
  redis.call('HINCRBY', engine, ARGV[i], ARGV[i + 1])
  i = i + 2
end
for j = i + 1, #ARGV, 2 do
  local known = redis.call('HGET', engine, ARGV[j])
  if not known or tonumber(known) < tonumber(ARGV[j + 1]) then
    redis.call('HSET', engine, ARGV[j], ARGV[j + 1])
  end
end
redis.call('HINCRBY', KEYS[1], 'held_ms', now_ms() - (redis.call('HGET', KEYS[2], 'leased_at_ms') or now_ms()))
redis.call('HINCRBY', KEYS[1], 'held_shards', 1)
return close_shard(keys, ARGV[1], ARGV[4], ARGV[5]) == 1 and 'ended' or 'ok'
