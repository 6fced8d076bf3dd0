-- Close a shard that a worker has finished, and add the worker's statistics to the job's.
-- `lines_read` is the number of lines in `running` when the caller read it. `packed_results` has `errors` new errors,
-- whose code is `error_code`.
-- `worker_facts` is JSON. Further arguments: field and amount of each sum in `engine`, '', field and value of each
-- maximum in `engine`.
-- Returns 'ended' if this ended the job, else 'ok'. Returns 'lost' when the token is outdated, or 'changed' when lines
-- came in since the caller read `running`.
local meta, shard, running, results, open, leases, engine = unpack(KEYS)
local index, token, lines_read, packed_results, errors, error_code, worker_id, worker_facts = unpack(ARGV, 1, 8)
if not may_work(shard, token) then
  return 'lost'
end
if redis.call('HLEN', running) ~= tonumber(lines_read) then
  return 'changed'
end
local keys = {meta = meta, shard = shard, running = running, results = results, open = open, leases = leases}
local i = 9
redis.call('HSET', engine, 'worker:' .. worker_id, worker_facts)
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
redis.call('HINCRBY', meta, 'held_ms', now_ms() - (redis.call('HGET', shard, 'leased_at_ms') or now_ms()))
redis.call('HINCRBY', meta, 'held_shards', 1)
return close_shard(keys, index, packed_results, errors, error_code) == 1 and 'ended' or 'ok'
