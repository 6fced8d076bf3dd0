-- Close a shard that no live worker holds, in a job that is cancelled or past its deadline.
-- KEYS: 1 meta, 2 shard, 3 running, 4 results, 5 open, 6 leases.
-- ARGV: 1 index of the shard, 2 number of lines in `running` when the caller read it, 3 packed results, 4 number of new
--   errors in them, 5 token of the shard when the caller read it ('' if it had none).
-- Returns 'ended' if this ended the job, else 'ok'. Returns 'changed' when a worker has leased the shard or written to
-- it since the caller read it. Returns 'no' when the shard must not be closed.
local expires = redis.call('ZSCORE', KEYS[6], ARGV[1])
local unheld = redis.call('ZSCORE', KEYS[5], ARGV[1]) or (expires and tonumber(expires) <= now_ms())
if redis.call('HGET', KEYS[1], 'cancel_requested') ~= '1' or not unheld then
  return 'no'
end
if redis.call('HLEN', KEYS[3]) ~= tonumber(ARGV[2]) or (redis.call('HGET', KEYS[2], 'token') or '') ~= ARGV[5] then
  return 'changed'
end
local keys = {meta = KEYS[1], shard = KEYS[2], running = KEYS[3], results = KEYS[4], open = KEYS[5], leases = KEYS[6]}
return close_shard(keys, ARGV[1], ARGV[3], ARGV[4]) == 1 and 'ended' or 'ok'
