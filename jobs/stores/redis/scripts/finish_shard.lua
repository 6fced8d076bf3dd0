-- KEYS: meta, shard, running, results, open, leases, engine. ARGV: index, token, lines in `running` when it was read,
-- packed results, errors among them that are new, worker id, what the worker is (JSON), then field and amount of each
-- sum of `engine`, '', then field and value of each maximum.
-- Returns 'ended' or 'ok', 'lost', or 'changed' when lines came in since `running` was read.
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
