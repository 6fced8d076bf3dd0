-- KEYS: meta, shard, running, results, open, leases. ARGV: index, lines in `running` when it was read, packed results,
-- errors among them that are new, the shard's token when it was read ('' if it never had one).
-- Closes a shard of a job that is to be cancelled and that no live worker holds.
-- Returns 'ended' or 'ok', 'changed' when a worker has been there since `running` was read, or 'no' when it must not be closed.
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
