-- Undo the count of an expired lease, because its worker is alive after all.
local shard = KEYS[1]
local token = ARGV[1]
uncount_crash(shard, token)
