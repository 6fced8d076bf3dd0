-- Put a job behind the others of its priority, if it is still listed.
-- KEYS: 1 list of a model's unfinished jobs.
-- ARGV: 1 job id, 2 lowest score of the job's priority.
redis.call('ZADD', KEYS[1], 'XX', string.format('%.0f', ARGV[2] + now_ms()), ARGV[1])
