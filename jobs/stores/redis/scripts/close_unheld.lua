-- Close a shard that no live worker holds, in a job that is cancelled or past its deadline.
-- `lines_read` is the number of lines in `running` when the caller read it. `packed_results` has `errors` new errors,
-- whose code is `error_code`.
-- `token_read` is the shard's token when the caller read it, or '' if it had none.
-- Returns 'ended' if this ended the job, else 'ok'. Returns 'changed' when a worker has leased the shard or written to
-- it since the caller read it. Returns 'no' when the shard must not be closed.
local meta, shard, running, results, open, leases = unpack(KEYS)
local index, lines_read, packed_results, errors, error_code, token_read = unpack(ARGV)
local unheld = redis.call('ZSCORE', open, index) or has_expired_lease(leases, index)
if redis.call('HGET', meta, 'cancel_requested') ~= '1' or not unheld then
  return 'no'
end
if redis.call('HLEN', running) ~= tonumber(lines_read) or (redis.call('HGET', shard, 'token') or '') ~= token_read then
  return 'changed'
end
local keys = {meta = meta, shard = shard, running = running, results = results, open = open, leases = leases}
return close_shard(keys, index, packed_results, errors, error_code) == 1 and 'ended' or 'ok'
